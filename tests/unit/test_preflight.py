# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why an estate is not provisioned: one decision a row."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from lifeline.inventory import preflight

ROOT = Path(__file__).resolve().parents[2]
UNIT, SENTINEL = "redis-server@main.service", "redis-sentinel.service"
FREE = {"number": 6379, "state": "free", "pid": None, "name": "", "exe": "", "unit": ""}
NOT_LOADED = {"load": "not-found", "active": "inactive", "sub": "dead"}
RUNS = {"load": "loaded", "active": "active", "sub": "running"}
DUMP = {"path": "/var/lib/redis/dump.rdb", "kind": "rdb", "size": 12 << 20, "age_s": 60.0, "empty": False}


def held(by: str, unit: str = "", state: str = "held") -> dict[str, Any]:
    return {**FREE, "state": state, "pid": 7, "name": by, "unit": unit}


def host(**changes: Any) -> dict[str, Any]:
    """A fresh host that is to be a server and a sentinel; ``evidence`` and ``found`` are merged into what it says."""
    evidence = {
        "disk": {"/etc": 1 << 40, "/var/lib": None},
        "platform": {"distribution": "debian", "release": "12"},
        "port": FREE,
        "sentinel_port": {**FREE, "number": 26379},
        "holdings": {"complete": True, "servers": [], "data": []},
        "owned": [],
        **changes.pop("evidence", {}),
    }
    found = {
        "units": {UNIT: NOT_LOADED, SENTINEL: NOT_LOADED, "redis-server.service": NOT_LOADED},
        "pristine": True,
        "seeded": False,
        "data": False,
        "made": [],
        **changes.pop("found", {}),
    }
    own = {
        "host": "redis1", "estate": "redis", "flavour": "redis", "server": True, "sentinel": True, "unit": UNIT,
        "sentinel_unit": SENTINEL, "distribution_unit": "redis-server.service", "free_disk_mb": 64,
        "platform_file": "/roles/redis/vars/debian-12-redis.yml", "topology": {"state": "empty", "reasons": []},
        "evidence": evidence, "found": found,
    }  # fmt: skip
    return {**own, **changes}


def problems(**changes: Any) -> str:
    return "\n".join(preflight.host_problems(host(**changes)))


def test_a_fresh_host_is_provisioned() -> None:
    assert problems() == ""


def test_a_switchover_minds_only_what_concerns_it() -> None:
    strange = {"port": held("nginx"), "holdings": {"complete": True, "data": [DUMP]}, "disk": {"/etc": 1}}
    assert problems(configures=False, evidence=strange).splitlines() == [
        "less than redis_free_disk_mb = 64 MiB is free in /etc. Free some space there, then run this again."
    ]


def test_what_lifeline_made_is_provisioned_again() -> None:
    own = {
        "owned": ["server", "sentinel"],
        "port": held("redis-server", UNIT),
        "sentinel_port": held("redis-sentinel", SENTINEL),
        "holdings": {"complete": False, "data": [DUMP]},
    }
    found = {"units": {UNIT: RUNS, SENTINEL: RUNS}, "seeded": True, "data": True}
    assert problems(evidence=own, found=found) == ""
    assert problems(evidence={**own, "owned": []}, found={**found, "made": ["server", "sentinel"]}) == ""


@pytest.mark.parametrize(
    ("port", "owned", "said"),
    [
        (FREE, [], ""),
        (held("redis-server", UNIT), ["server"], ""),
        (held("redis-server", UNIT), [], "held by redis-server (process 7, unit redis-server@main.service)"),
        (held("redis-server", "myqueue.service"), ["server"], "held by redis-server (process 7, unit myqueue.service)"),
        (held("redis-server"), ["server"], "held by redis-server (process 7), which Lifeline did not set up"),
        (held("nginx", "nginx.service"), [], "held by nginx (process 7, unit nginx.service)"),
        ({**FREE, "state": "held"}, [], "held by a process that cannot be seen"),
        (held("redis-server", "box.service", "unknown"), [], "held by redis-server (process 7, unit box.service)"),
        ({**FREE, "state": "unknown"}, ["server"], "who holds port 6379 (redis_port) cannot be told"),
        ({}, ["server"], "who holds port 0 (redis_port) cannot be told"),
    ],
)
def test_A7_whoever_else_holds_the_port_is_refused(port: dict[str, Any], owned: list[str], said: str) -> None:
    """Before: a foreign Redis that refused the login counted as an empty estate; a unit for its port was enabled.

    Now: whatever holds the port is refused by name, unless it is the unit that carries Lifeline's mark.
    """
    told = problems(evidence={"port": port, "owned": owned})
    assert said in told if said else told == ""


def test_A7_the_sentinels_port_is_guarded_alike() -> None:
    said = problems(evidence={"sentinel_port": held("redis-sentinel", SENTINEL)})
    assert "(redis_sentinel_port) is held by redis-sentinel (process 7, unit redis-sentinel.service), which" in said
    assert problems(evidence={"sentinel_port": held("redis-sentinel", SENTINEL)}, sentinel=False) == ""


def test_A7_the_endpoints_address_is_guarded_alike() -> None:
    binds = {
        "127.0.0.1:6379": held("redis-server", "redis-server.service"),
        "127.0.0.1:6380": held("haproxy", "redis-endpoint.service"),
        "127.0.0.1:6381": FREE,
    }
    (said,) = preflight.endpoint_problems({"binds": binds}, "redis-endpoint")
    assert said.startswith("127.0.0.1:6379 (redis_endpoint_bind) is held by redis-server (process 7, unit redis-server")
    assert preflight.endpoint_problems({}, "redis-endpoint") == []


@pytest.mark.parametrize(
    ("holdings", "said"),
    [
        ({"complete": True, "data": []}, ""),
        ({"complete": True, "data": [{**DUMP, "empty": True}]}, ""),
        ({"complete": True, "data": [DUMP]}, "did not set up: /var/lib/redis/dump.rdb (12.0 MiB). Provisioning would"),
        ({"complete": True, "data": [DUMP] * 5}, "(12.0 MiB) and 2 more."),
        ({"complete": False, "data": []}, "not every folder that could hold a server's data could be looked at"),
        ({}, "not every folder"),
    ],
)
def test_A5_data_of_another_server_is_never_provisioned_over(holdings: dict[str, Any], said: str) -> None:
    """Before: dumps of a server that Lifeline did not make were not looked for; an empty Redis was started as primary.

    Now: any such data, or a folder that could not be looked at, refuses the estate, until a person has moved it.
    """
    told = problems(evidence={"holdings": holdings})
    assert said in told if said else told == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evidence": {"disk": {"/var/log": 1000}}}, "less than redis_free_disk_mb = 64 MiB is free in /var/log."),
        (
            {"topology": {"state": "disputed", "reasons": ["two primaries"]}},
            "to be configured: two primaries. Run reco",
        ),
        ({"topology": {}}, "not in a state to be configured: nobody could look."),
        ({"platform_file": "", "evidence": {"platform": {}}}, "it runs an unknown system, and role redis has no file"),
        ({"found": {"units": {"redis-server.service": RUNS}}}, "distribution's own redis-server.service is running"),
        ({"found": {"units": {SENTINEL: {"load": "masked"}}, "pristine": False}}, "redis-sentinel.service is masked"),
        ({"found": {"units": {UNIT: {"load": "masked"}}, "seeded": True}}, "@main.service is masked, with data from"),
        ({"found": {"seeded": True, "data": True}}, "@main.service is inactive, with data from before"),
    ],
)
def test_A6_each_reason_is_a_sentence_that_says_what_to_do(changes: dict[str, Any], said: str) -> None:
    """Before: some refusals came after the firewall and HAProxy were in place, on other hosts of the same estate.

    Now: all of them are told before the first change.
    """
    told = problems(**changes)
    assert said in told
    assert "{" not in told and all(line.endswith(".") for line in told.splitlines())


def test_a_masked_sentinel_that_an_earlier_run_masked_is_no_reason() -> None:
    assert problems(found={"units": {SENTINEL: {"load": "masked"}}, "pristine": True}) == ""


def said(estate: str, *reasons: str, looked: bool = True, intent: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"estate": estate, "intent": list(intent), "reasons": list(reasons), "looked": looked}


def test_A6_one_host_speaks_for_its_estate_and_stops_all_of_it() -> None:
    states = {
        "a1": said("a"),
        "a2": said("a", "its port is held", "it has data"),
        "app": said("a", "its address is held"),
        "b1": said("b"),
    }
    hosts = list(states)
    told = {name: preflight.refusal(states, hosts, name) for name in hosts}
    assert {name: (bool(row["text"]), row["speaks"]) for name, row in told.items()} == {
        "a1": (True, True),
        "a2": (True, False),
        "app": (True, False),
        "b1": (False, False),
    }
    assert told["a1"]["text"].splitlines() == [
        "REFUSED: estate a is left as it is. Nothing was changed on any of its hosts.",
        "- a2: its port is held",
        "- a2: it has data",
        "- app: its address is held",
    ]


def test_A6_a_host_that_failed_while_it_was_looked_at_stops_its_estate() -> None:
    states = {"a1": said("a"), "a2": said("a"), "away": said("a", looked=False)}
    told = preflight.refusal(states, ["a1"], "a1")
    assert told["speaks"] and told["text"].splitlines()[1:] == ["- a2: it failed while it was looked at; see above"]
    assert preflight.refusal(states, ["a1", "a2"], "a1") == {"text": "", "speaks": False}


def test_what_several_hosts_say_is_said_once() -> None:
    states = {"a1": said("a", "no primary", "no space"), "a2": said("a", "no primary")}
    lines = preflight.refusal(states, ["a1", "a2"], "a1")["text"].splitlines()[1:]
    assert lines == ["- a1, a2: no primary", "- a1: no space"]


def test_what_the_inventory_lacks_is_said_once() -> None:
    sentence = "a1: redis_port is 0, which is no port; use a number from 1 to 65535."
    states = {"a1": said("a", intent=(sentence,)), "a2": said("a", intent=(sentence,))}
    assert preflight.refusal(states, ["a1", "a2"], "a1")["text"].splitlines()[1:] == [f"- {sentence}"]


def test_a_module_that_only_looked_says_why_it_failed() -> None:
    assert preflight.reasons_of({"changes": [], "changed": False}, "changes") == []
    assert preflight.reasons_of({"msg": "nft cannot list the table", "failed": True}, "changes") == [
        "nft cannot list the table"
    ]
    assert preflight.reasons_of(None, "changes") == ["it could not be looked at"]


SHIPPED = ("debian-12-redis.yml", "debian-13-valkey.yml", "debian-sid-valkey.yml")


@pytest.mark.parametrize(
    ("platform", "flavour", "file"),
    [
        ({"distribution": "debian", "release": "12"}, "redis", "debian-12-redis.yml"),
        ({"distribution": "debian", "release": "13"}, "valkey", "debian-13-valkey.yml"),
        ({"distribution": "debian", "release": "sid"}, "valkey", "debian-sid-valkey.yml"),
        ({"distribution": "debian", "release": "sid"}, "redis", ""),
        ({"distribution": "debian", "release": "11"}, "redis", ""),
        ({"distribution": "../../x", "release": "12"}, "redis", ""),
        ({"distribution": "debian", "release": "12-redis.yml/../../../etc/passwd"}, "redis", ""),
        ({"distribution": ["debian"], "release": 12}, "redis", ""),
        ({}, "redis", ""),
    ],
)
def test_B7_only_a_file_that_the_role_ships_describes_a_platform(platform: Any, flavour: str, file: str) -> None:
    """Before: a host's word became part of a path, so that ``../../x`` made include_vars load any local file.

    Now: what the host says is compared with the names of the files that the role ships.
    """
    assert preflight.platform_file(platform, flavour, SHIPPED) == file


def test_B7_the_filter_looks_in_the_roles_own_folder_alone(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("preflight_filter", ROOT / "plugins/filter/lifeline_preflight.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    find = module.FilterModule().filters()["lifeline_platform_file"]
    role = ROOT / "roles" / "redis"
    assert find({"distribution": "debian", "release": "12"}, "redis", str(role)) == str(
        role / "vars/debian-12-redis.yml"
    )
    (tmp_path / "vars").mkdir()
    (tmp_path / "x-12-redis.yml").touch()
    assert find({"distribution": "../x", "release": "12"}, "redis", str(tmp_path)) == ""
    told = problems(platform_file="", evidence={"platform": {"distribution": "../../x", "release": "12"}})
    assert "it runs ../../x 12, and role redis has no file that describes redis there" in told


def test_whatever_a_host_says_is_answered() -> None:
    for junk in (None, [], "x", 5, {"evidence": []}, {"evidence": {"port": 5, "holdings": [], "disk": "x"}}):
        own = {**host(), **junk} if isinstance(junk, dict) else junk
        assert isinstance(preflight.host_problems(own), list)
