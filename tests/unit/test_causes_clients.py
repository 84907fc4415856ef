# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Servers that serve nobody: what shows it, and what only looks like it."""

from __future__ import annotations

from estates import NOW, UNIT, Estate

FULL = "maxclients: max number of clients reached"
BUSY = "busy: BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."


def test_a_server_that_is_full_says_so_through_its_socket_and_the_kernel_says_who_fills_it() -> None:
    estate = Estate().refuse("redis1", "dropped: TLS/SSL connection has been closed (EOF) (_ssl.c:992).")
    said = f"tcp: dropped: TLS/SSL connection has been closed (EOF); unix: {FULL}"
    estate.look("redis1", server={"reachable": False, "via": "", "error": said})
    estate.look("redis1", connections={"total": 40, "by_address": {"192.0.2.21": 37, "192.0.2.2": 3}})
    finding = estate.findings()["maxclients_reached", "redis1"]
    assert finding["severity"] == "critical"
    assert any("37 of 40 connections are from 192.0.2.21" in line for line in finding["evidence"])
    plan = estate.diagnose()["plan"]
    assert plan["verdict"] == "refused" and not plan["actions"], "nobody can log in to raise the limit, and no failover"
    assert list(estate.findings()) == [("maxclients_reached", "redis1")]


def test_nearly_full_is_a_warning_and_room_is_nothing() -> None:
    def with_clients(count: int) -> Estate:
        holders = [{"address": "192.0.2.21", "user": "application", "name": "", "count": count, "idle_s": 900}]
        server = {"reachable": True, "info": {"connected_clients": count}, "config": {"maxclients": "100"}}
        return Estate().look("redis1", server={**server, "clients": holders})

    finding = with_clients(95).findings()["maxclients_reached", "redis1"]
    assert finding["severity"] == "warning"
    assert any("longest idle 900 s" in line for line in finding["evidence"])
    assert with_clients(60).findings() == {}


def test_a_script_is_told_from_a_command_and_from_a_process_that_hangs() -> None:
    script = Estate().refuse("redis2", BUSY).log("redis2", "slow_script", "Slow script detected: still in execution")
    assert list(script.findings()) == [("script_blocks", "redis2")]

    def silent(state: str) -> Estate:
        estate = Estate().refuse("redis2", "timeout: Timeout reading from socket")
        estate.look("redis2", server={"reachable": False, "error": "tcp: timeout: Timeout reading from socket"})
        return estate.look("redis2", processes={UNIT: {"pid": 7, "state": state}})

    assert silent("R").findings()["command_blocks", "redis2"]["sure"] == "likely"
    assert ("command_blocks", "redis2") not in silent("T").findings()
    assert ("command_blocks", "redis2") not in silent("S").findings()


def test_a_slow_command_is_worth_a_note_while_it_is_fresh() -> None:
    def slow(ms: float, ago: float) -> Estate:
        row = {"time": NOW - ago, "ms": ms, "command": "KEYS", "address": "192.0.2.21:4711", "name": ""}
        return Estate().look("redis1", server={"reachable": True, "slowlog": [row]})

    finding = slow(2300.0, 30).findings()["slow_command", "redis1"]
    assert finding["severity"] == "info" and "KEYS" in finding["evidence"][0]
    assert slow(2300.0, 5000).findings() == {}
    assert slow(80.0, 30).findings() == {}
