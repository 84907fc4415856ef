# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies between the hosts: who sees what, and what that says."""

from __future__ import annotations

from typing import Any

from estates import Estate

OPEN = {"tries": 6, "answered": 6, "refused": 0, "best_ms": 0.2, "error": ""}
SHUT = {**OPEN, "answered": 0, "best_ms": None}


def found(estate: Estate) -> set[tuple[str, str]]:
    """Root findings of an estate with an application host."""
    return set(estate.findings(applications=["app1"] if "app1" in estate.evidence else []))


def test_an_application_host_that_alone_sees_nobody() -> None:
    used = {"reachable": False, "error": "dropped: Connection closed by server.", "role": ""}
    estate = Estate().application(application=used)
    for name in estate.names:
        estate.cut("app1", name)
    assert found(estate) == {("clients_cut_off", "app1")}
    assert estate.findings(applications=["app1"])["clients_cut_off", "app1"]["severity"] == "critical"


def test_a_busy_host_that_is_too_slow_to_talk_is_not_cut_off() -> None:
    estate = Estate().application().cut("app1", "redis1").look("app1", paths={"redis1": OPEN})
    assert found(estate) == set()
    shut = Estate().application().cut("app1", "redis1").look("app1", paths={"redis1": SHUT})
    assert ("clients_cut_off", "app1") in found(shut)


def test_a_host_too_busy_to_ask_itself_is_not_cut_off_from_itself() -> None:
    assert found(Estate().cut("redis2", "redis2").cut("redis2", "redis2", "sentinels")) == set()


def test_a_server_that_is_dead_for_all_is_no_matter_of_the_network() -> None:
    assert not {cause for cause, _where in found(Estate().application().kill("redis2"))} & {
        "clients_cut_off", "peer_cut_off", "host_isolated", "sentinel_cut_off"
    }  # fmt: skip


def test_sentinels_that_do_not_hear_each_other() -> None:
    estate = Estate().cut("redis1", "redis3", "sentinels").cut("redis2", "redis3", "sentinels")
    assert found(estate) == {("sentinel_cut_off", "redis3")}
    deaf = Estate().cut("redis3", "redis1", "sentinels").cut("redis3", "redis2", "sentinels")
    assert found(deaf) == {("sentinel_cut_off", "redis3")}


def test_a_server_that_its_peers_do_not_reach() -> None:
    estate = Estate().cut("redis1", "redis2").cut("redis3", "redis2")
    assert found(estate) == {("peer_cut_off", "redis2")}


def isolated() -> Estate:
    """redis3 sees only itself, and nobody else sees it."""
    estate = Estate()
    for kind in ("nodes", "sentinels"):
        for other in ("redis1", "redis2"):
            estate.cut("redis3", other, kind).cut(other, "redis3", kind)
    return estate


def test_a_host_that_is_cut_off_from_all_others() -> None:
    assert found(isolated()) == {("host_isolated", "redis3")}


def test_the_sentinel_of_a_host_that_is_cut_off_is_left_alone() -> None:
    astray = {"primary": {"host": Estate._address("redis3"), "port": 6379}}
    assert "repoint_sentinel" in remedies(Estate().watch("redis3", **astray))
    assert remedies(isolated().watch("redis3", **astray)) == []


def remedies(estate: Estate) -> list[str]:
    """What the plan does."""
    return [action["remedy"] for action in estate.diagnose()["plan"]["actions"]]


def lossy(answered: int, pairs: int) -> Estate:
    """Ways to redis2 on which packets get lost."""
    row = {**OPEN, "answered": answered}
    estate = Estate()
    for viewer in ("redis1", "redis3")[:pairs]:
        estate.look(viewer, paths={"redis2": row, "redis2 sentinel": OPEN})
    return estate


def test_lost_packets_are_told_from_an_accident_and_from_a_closed_way() -> None:
    finding = lossy(4, 2).findings()["packet_loss", "redis2"]
    assert finding["sure"] == "certain"
    assert found(lossy(5, 1)) == set(), "one packet may get lost"
    assert found(lossy(6, 2)) == set()
    assert found(lossy(0, 2)) == set(), "then nothing gets through, which is another matter"


def test_names() -> None:
    row = {"addresses": [], "error": "Temporary failure in name resolution"}
    used = {"reachable": False, "host": "redis.example.com", "error": f"dns: {row['error']}"}
    estate = Estate().application(application=used, names={"redis.example.com": row})
    assert found(estate) == {("names_unresolved", "app1")}
    known = Estate().application(names={"redis.example.com": {"addresses": ["192.0.2.1"], "error": ""}})
    assert found(known) == set()


def test_names_that_differ_between_hosts() -> None:
    def named(one: str, two: str) -> Estate:
        estate = Estate().look("redis1", names={"redis3.example.com": {"addresses": [one], "error": ""}})
        return estate.look("redis2", names={"redis3.example.com": {"addresses": [two], "error": ""}})

    assert found(named("192.0.2.3", "192.0.2.9")) == {("names_differ", "redis")}
    assert found(named("192.0.2.3", "192.0.2.3")) == set()
    assert found(named("192.0.2.3", "127.0.1.1")) == set(), "on its own host a name may be the loopback"


def endpoint(active: str, reachable: bool, status: str = "UP", error: str = "refused: Connection refused") -> Estate:
    """An application host's HAProxy."""
    state = {"active": active, "sub": "running" if active == "active" else "dead", "result": "success"}
    servers: dict[str, Any] = {"primaries": {"redis1": status, "redis2": "DOWN"}}
    used = {"reachable": reachable, "error": "" if reachable else error}
    unit = {"unit": "redis-endpoint.service", "state": state, "servers": servers}
    return Estate().application(application=used, endpoint=unit)


def test_the_endpoint_of_an_application_host() -> None:
    assert found(endpoint("inactive", False)) == {("endpoint_down", "app1")}
    assert found(endpoint("inactive", True)) == set(), "nobody uses it"
    assert found(endpoint("active", True)) == set()
    assert found(endpoint("active", False, "DOWN", "dropped: Connection closed by server.")) == {
        ("endpoint_blind", "app1")
    }


def test_the_endpoint_that_lifeline_made_is_started_and_no_other() -> None:
    estate = endpoint("inactive", False)
    steps = [(step["remedy"], step["host"]) for step in estate.diagnose(applications=["app1"])["plan"]["actions"]]
    assert steps == [("start_endpoint", "app1")]
    estate.evidence["app1"]["owned"] = []
    assert estate.diagnose(applications=["app1"])["plan"]["actions"] == []


def test_a_managed_server() -> None:
    estate = Estate(sentinels=False, nodes=1)
    estate.evidence["redis1"].update(managed=True, units={}, files={})
    assert found(estate) == set()
    refused = "refused: Error 111 connecting to 192.0.2.1:6379. Connection refused."
    assert found(estate.refuse("redis1", refused)) == {("endpoint_unreachable", "redis1")}
    assert estate.diagnose()["verdict"] == "down"
