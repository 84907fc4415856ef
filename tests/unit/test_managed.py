# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis that is only a URL: what a plan for it may hold, and what modules do without an address."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from estates import Estate
from lifeline.act import repair, scale
from lifeline.common.client import Credentials, Endpoint, connect
from lifeline.common.spec import connection_spec
from lifeline.diagnose.causes.catalogue import CATALOGUE
from lifeline.diagnose.findings import Finding
from lifeline.diagnose.survey import build
from lifeline.errors import LifelineError
from lifeline.inventory.intent import estate_problems
from lifeline.plan.recovery import make_plan
from lifeline.plan.remedies import REMEDIES
from lifeline.verify import write_probe


def url_estate(**view: Any) -> Estate:
    estate = Estate(sentinels=False, nodes=1)
    estate.evidence["redis1"].update(managed=True, units={}, files={})
    estate.evidence["redis1"]["nodes"]["redis1"].update(view)
    return estate


PRIMARY = {"host": "192.0.2.9", "port": 6380, "link_up": True}


@pytest.mark.parametrize(
    ("view", "verdict", "sentence"),
    [
        ({}, "healthy", ""),
        ({"role": "unknown"}, "healthy", ""),  # a managed service that hides it
        ({"role": "slave", "primary": PRIMARY}, "refused", "this URL is a replica's; its primary is 192.0.2.9:6380"),
        (
            {"role": "slave", "primary": {**PRIMARY, "host": "2001:db8::1"}},
            "refused",
            "this URL is a replica's; its primary is [2001:db8::1]:6380",
        ),
        ({"role": "unknown", "mode": "sentinel"}, "refused", "this URL is a sentinel's"),
        ({"reachable": False, "error": "refused: no"}, "refused", "192.0.2.1:6379 does not answer (refused: no)"),
        ({"reachable": False, "error": "auth: WRONGPASS"}, "refused", "does not answer (auth: WRONGPASS)"),
        ({"reachable": False, "error": "url: The Redis URL is not valid."}, "refused", "redis1: The Redis URL is not"),
    ],
)
def test_A3_what_a_url_leads_to_decides_the_plan(view: dict[str, Any], verdict: str, sentence: str) -> None:
    """Before: a URL that leads to a replica was "failed over from the old primary".

    Now: the sentence says whose URL it is and where the primary is; no plan for a URL has a step.
    """
    found = url_estate(**view).diagnose()
    plan = found["plan"]
    assert (plan["verdict"], plan["actions"]) == (verdict, [])
    assert sentence in (plan["refusal"] or "")
    if sentence:
        assert found["verdict"] in ("down", "blind")
        assert found["findings"][0]["id"] in ("url_astray", "endpoint_unreachable", "login_refused"), found["findings"]


@pytest.mark.parametrize("task", [remedy.id for remedy in REMEDIES])
@pytest.mark.parametrize("hosts", [None, ["redis1"], ["redis1", "app1"]])
def test_A4_no_remedy_of_any_finding_is_a_step_on_the_machine_that_looked(
    task: str, hosts: Optional[list[str]]
) -> None:
    """Before: a remedy for a URL ran on the control node, against the socket and the units that lie there.

    Now: a plan for a URL has no step; the remedy is named as its provider's.
    """
    estate = url_estate()
    topology = build(list(estate.evidence.values()), estate.nodes, [], "redis")
    data = {"hosts": hosts} if hosts else {}
    finding = Finding("x", "Something is wrong", "redis1", "critical", remedy="Repair it.", task=task, data=data)
    plan = make_plan(topology, [finding])
    assert (plan.verdict, plan.actions) == ("degraded", [])
    assert "a step for its provider" in plan.todo[0]


def test_A4_one_url_among_hosts_gets_no_step_either() -> None:
    estate = Estate(sentinels=False)
    estate.evidence["redis1"].update(managed=True)
    topology = build(list(estate.evidence.values()), estate.nodes, [], "redis")
    for cause in CATALOGUE:
        finding = Finding(cause.id, cause.title, "redis1", "critical", task=cause.task, data={"host": "redis1"})
        assert not [step for step in make_plan(topology, [finding]).actions if step.host == "redis1"], cause.id


def defaults() -> dict[str, Any]:
    return {name: option.get("default") for name, option in connection_spec().items()}


@pytest.mark.parametrize("where", [{}, {"login_host": ""}, {"login_unix_socket": ""}])
@pytest.mark.parametrize("work", [scale.work, repair.work, write_probe.prove])
def test_A4_a_module_without_an_address_refuses(work: Any, where: dict[str, Any]) -> None:
    more = {"what": "save", "timeout": 1.0, "url": None, "url_file": None, "url_optional": True, "sentinels": []}
    with pytest.raises(LifelineError, match="No server is named"):
        work({**defaults(), **more, **where}, True)


def test_A4_nobody_connects_to_an_empty_host() -> None:
    with pytest.raises(LifelineError, match="redis1 has no address"):
        connect(Endpoint("", 6379, "redis1"), Credentials())


def test_A4_an_inventory_with_a_url_has_nothing_to_set_up() -> None:
    (problem,) = estate_problems("endpoint", {"redis_url": "redis://x"}, {}, {})
    assert problem.startswith("endpoint is a Redis that is only a URL")
    assert "redis://" not in problem
