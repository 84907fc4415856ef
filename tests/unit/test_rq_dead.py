# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which claims that a worker is dead may be believed."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from lifeline.errors import LifelineError
from lifeline.rq.dead import claims, collect, credible


@pytest.mark.parametrize(
    ("results", "believed"),
    [
        ([{"hostname": "app1", "gone_workers": ["a", "b"]}], [("a", "app1"), ("b", "app1")]),
        ([{"hostname": "app1", "gone_workers": ["a"]}, {"hostname": "app2", "gone_workers": []}], [("a", "app1")]),
        # One of them calls itself what the other is called; or both are called localhost.
        ([{"hostname": "app1", "gone_workers": ["a"]}, {"hostname": "app1", "gone_workers": []}], []),
        ([{"gone_workers": ["a"]}], []),  # nobody to bind it to
        ([{"hostname": "app1"}, {"hostname": "", "gone_workers": ["a"]}, {}], []),
        ([{"hostname": "app1", "gone_workers": None}], []),
    ],
)
def test_B12_a_host_speaks_for_its_own_workers(results: list[dict[str, Any]], believed: list[tuple[str, str]]) -> None:
    """Before: any application host could say that any worker was dead, and its running job was put back.

    Now: a host is believed for its own workers alone, and never of one whose heart still beats.
    """
    assert [(row["name"], row["hostname"]) for row in collect(results)] == believed


def test_B12_two_hosts_that_claim_one_worker_are_both_disbelieved() -> None:
    assert claims([{"name": "a", "hostname": "app1"}, {"name": "a", "hostname": "app2"}, "b", "b"]) == {"b": None}
    with pytest.raises(LifelineError, match="dead_workers"):
        claims([{"hostname": "app1"}])
    with pytest.raises(LifelineError, match="dead_workers"):
        claims([7])


@pytest.mark.parametrize(
    ("claimed", "known", "hostname", "beat", "believed"),
    [
        ("app1", True, "app1", "2026-11-30T17:00:00.000000Z", True),
        (None, True, "app1", "2026-11-30T17:00:00.000000Z", True),  # a person's word
        ("app1", True, "app2", "2026-11-30T17:00:00.000000Z", False),
        ("app1", True, "", "2026-11-30T17:00:00.000000Z", False),
        ("app1", True, "app1", "", False),  # a key without a heartbeat proves nothing
        ("app1", False, "", "", True),  # no key: RQ itself holds it for dead
    ],
)
def test_B12_what_redis_knows_of_a_worker_decides(
    claimed: Optional[str], known: bool, hostname: str, beat: str, believed: bool
) -> None:
    assert credible(claimed, known, hostname, beat) is believed
