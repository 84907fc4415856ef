# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading how a host is set up: files, units, rules of the firewall, packages; and that no secret comes along."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from lifeline.observe.posture import config, host, nft, secrets, server, units

SECRET = "planted-secret-0123456789"
DIGESTS = secrets.Digests("a run's key")


def test_listening_ports_are_read_with_their_addresses() -> None:
    text = (
        "  sl  local_address rem_address   st tx_queue rx_queue\n"
        "   0: 0100007F:18EB 00000000:0000 0A 00000000:00000000\n"
        "   1: 00000000:0016 00000000:0000 0A 00000000:00000000\n"
        "   2: 0100007F:18EB 0100007F:D431 01 00000000:00000000\n"
    )
    assert host.parse_tcp(text) == [{"address": "127.0.0.1", "port": 6379}, {"address": "*", "port": 22}]
    six = "x\n 0: 00000000000000000000000001000000:18EB 00000000000000000000000000000000:0000 0A 0\n"
    assert host.parse_tcp(six) == [{"address": "::1", "port": 6379}]


def test_the_filesystem_of_a_path_is_the_nearest_mount() -> None:
    info = (
        "1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        "2 1 8:2 / /var/lib/redis rw,nodev,nosuid,noexec shared:1 - xfs /dev/sdb1 rw\n"
        "3 1 8:3 / /var/lib/redis-other rw - xfs /dev/sdc1 rw\n"
    )
    found = host.mount_of("/var/lib/redis/main", info)
    assert (found["point"], found["own"], "noexec" in found["options"]) == ("/var/lib/redis", True, True)
    assert host.mount_of("/var/lib/other", info)["own"] is False


def test_a_waiting_update_is_told_from_an_installed_version() -> None:
    policy = (
        "redis-server:\n  Installed: 5:7.0.15-1~deb12u1\n  Candidate: 5:7.0.15-1~deb12u2\n  Version table:\n"
        "     5:7.0.15-1~deb12u2 500\n        500 http://security.example.org bookworm-security/main amd64 Packages\n"
        " *** 5:7.0.15-1~deb12u1 500\n        500 http://example.org bookworm/main amd64 Packages\n"
        "valkey-server:\n  Installed: (none)\n  Candidate: 8.1\n  Version table:\n     8.1 500\n"
    )
    assert host.parse_policy(policy) == {
        "redis-server": {"version": "5:7.0.15-1~deb12u1", "candidate": "5:7.0.15-1~deb12u2", "security": True}
    }


def test_audit_rules_of_both_forms_are_found(tmp_path: Path) -> None:
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "rules.d" / "redis.rules").write_text(
        "# -w /not/this\n-w /etc/redis -p wa -k redis\n-a always,exit -F dir=/var/lib/redis/ -F perm=wa\n"
    )
    assert host.audit_watches(str(tmp_path)) == ["/etc/redis", "/var/lib/redis"]


def test_rsyslog_forwards_only_where_a_line_says_so(tmp_path: Path) -> None:
    file = tmp_path / "rsyslog.conf"
    file.write_text("*.* /var/log/syslog\n# *.* @@log.example.org:514\nmail.* ops@example.org\n")
    assert not host.syslog_forwards(str(file))
    file.write_text("*.* @@log.example.org:514\n")
    assert host.syslog_forwards(str(file))


@pytest.mark.parametrize(
    ("report", "found"),
    [
        ({"summary": {"failed-count": 2, "test-count": 9}}, {"tool": "goss", "failed": 2, "total": 9}),
        (
            {"profiles": [{"controls": [{"results": [{"status": "failed"}, {"status": "passed"}]}, {"results": []}]}]},
            {"tool": "inspec", "failed": 1, "total": 2},
        ),
        ({"other": 1}, {}),
    ],
)
def test_audits_of_the_system_are_counted(report: dict[str, Any], found: dict[str, Any]) -> None:
    assert host.count_baseline(report) == found


def test_units_and_their_spans_are_read() -> None:
    text = (
        "Id=redis-server@main.service\nLoadState=loaded\nActiveState=active\nMainPID=7\nNoNewPrivileges=yes\n"
        "LimitNOFILE=11024\nLimitCORE=infinity\nRestart=on-failure\nStartLimitBurst=5\nStartLimitIntervalUSec=1min\n"
        "TimeoutStartUSec=1min 30s\nTimeoutStopUSec=infinity\n\nId=gone.service\nLoadState=not-found\n"
    )
    found = units.parse(text)
    unit = found["redis-server@main.service"]
    assert list(found) == ["redis-server@main.service"]
    assert (unit["timeout_start_s"], unit["timeout_stop_s"], unit["start_limit_interval_s"]) == (90.0, -1.0, 60.0)
    assert (unit["limit_core"], unit["limit_nofile"], unit["no_new_privileges"]) == (-1, 11024, True)


def test_no_secret_leaves_the_configuration(tmp_path: Path) -> None:
    acl = tmp_path / "users.acl"
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    acl.write_text(f"user default off\nuser app on #{digest} ~rq:* +@read\nuser plain on >{SECRET} -@all\n")
    conf = tmp_path / "redis.conf"
    conf.write_text(
        f'requirepass {SECRET}\nmasterauth "{SECRET}"\nuser worse on >{SECRET} +@all\nrename-command KEYS ""\n'
        f"port 6379\nreplicaof 192.0.2.1 6379\n"
    )
    watch = tmp_path / "sentinel.conf"
    watch.write_text(
        f"port 26379\naclfile {acl}\nsentinel monitor orders 192.0.2.1 6379 2\nsentinel auth-pass orders {SECRET}\n"
        f"sentinel sentinel-pass {SECRET}\nrequirepass {SECRET}\nsentinel down-after-milliseconds orders 7000\n"
    )
    server_said = config.server_file(str(conf), DIGESTS)
    acl_said = config.acl_file(str(acl), DIGESTS)
    sentinel_said = config.sentinel_file(str(watch), DIGESTS)
    for said in (server_said, acl_said, sentinel_said):
        assert SECRET not in json.dumps(said)
        assert digest not in json.dumps(said)
    assert (server_said["renamed"], server_said["plain_users"]) == (["KEYS"], ["worse"])
    assert server_said["secrets"]["masterauth"] == sentinel_said["monitors"]["orders"]["auth_pass"]
    assert acl_said["plain_users"] == ["plain"]
    assert acl_said["users"]["app"]["digests"] == [DIGESTS.of_password(SECRET)]
    monitor = sentinel_said["monitors"]["orders"]
    assert (monitor["down-after-milliseconds"], monitor["failover-timeout"]) == ("7000", "180000")


def test_digests_of_two_runs_have_nothing_in_common() -> None:
    assert secrets.Digests("one").of_password(SECRET) != secrets.Digests("two").of_password(SECRET)
    assert DIGESTS.of_password("") == ""
    assert secrets.weak("foobared") and not secrets.weak(SECRET)


def test_members_of_a_cluster_are_read_in_both_forms() -> None:
    text = (
        "a1 192.0.2.1:6379@16379 myself,master - 0 0 1 connected 0-8191\n"
        "b2 192.0.2.2:6379@16379,host2 slave a1 0 0 1 connected\nc3 :0@0 master,noaddr - 0 0 1 disconnected\n"
    )
    parsed = {
        "192.0.2.1:6379": {"node_id": "a1", "flags": "master", "master_id": "-", "slots": [["0", "8191"]]},
        "192.0.2.2:6379": {"node_id": "b2", "flags": "slave", "master_id": "a1", "slots": []},
    }
    wanted = [
        {"id": "a1", "host": "192.0.2.1", "primary": "", "slots": 1},
        {"id": "b2", "host": "192.0.2.2", "primary": "a1", "slots": 0},
    ]
    assert server.cluster_nodes(text) == wanted
    assert server.cluster_nodes(parsed) == wanted


def rule(*parts: Any) -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "t", "chain": "guard", "expr": list(parts)}}


def match(protocol: str, field: str, right: Any, operator: str = "==") -> dict[str, Any]:
    return {"match": {"op": operator, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def judged(*rules: dict[str, Any], policy: str = "accept") -> tuple[str, dict[str, str]]:
    chain = {"chain": {"family": "inet", "table": "t", "name": "guard", "hook": "input", "prio": 0, "policy": policy}}
    peers = ["192.0.2.1", {"prefix": {"addr": "192.0.2.8", "len": 29}}]
    members = {"set": {"family": "inet", "table": "t", "name": "peers", "elem": peers}}
    listing = json.dumps({"nftables": [{"metainfo": {}}, chain, members, *rules]})
    said = nft.summary(listing, [6379], ["192.0.2.1", "192.0.2.9"], nft_strangers())
    return said["ports"]["6379"]["strangers"], said["ports"]["6379"]["members"]


def nft_strangers() -> tuple[str, ...]:
    return ("203.0.113.77", "2001:db8:ffff::77")


PEERS = rule(match("tcp", "dport", 6379), match("ip", "saddr", "@peers"), {"accept": None})
REFUSE = rule(match("tcp", "dport", {"set": [6379, 26379]}), {"counter": {}}, {"drop": None})


def test_a_guarded_port_lets_in_members_alone() -> None:
    assert judged(PEERS, REFUSE) == ("drop", {"192.0.2.1": "accept", "192.0.2.9": "accept"})
    assert judged(PEERS, policy="drop")[0] == "drop"


def test_an_open_port_is_open() -> None:
    assert judged()[0] == "accept"
    assert judged(PEERS)[0] == "accept"
    four_only = rule(match("tcp", "dport", 6379), match("ip", "saddr", "0.0.0.0", "!="), {"drop": None})
    assert judged(PEERS, four_only)[0] == "accept", "IPv6 comes in"


def test_members_that_are_shut_out_are_seen() -> None:
    assert judged(REFUSE)[1] == {"192.0.2.1": "drop", "192.0.2.9": "drop"}


def test_the_loopback_rule_lets_in_nobody_else() -> None:
    lo = rule({"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}, {"accept": None})
    assert judged(lo, PEERS, REFUSE)[0] == "drop"


def test_what_is_not_understood_is_unknown_and_never_a_pass() -> None:
    odd = rule({"match": {"op": "==", "left": {"fib": {}}, "right": "local"}}, {"accept": None})
    assert judged(odd, REFUSE)[0] == "unknown"
    assert judged(rule({"xt": None}), REFUSE)[0] == "unknown"
    assert nft.summary("no json", [6379], [], nft_strangers())["readable"] is False


def test_jumps_and_returns_are_followed() -> None:
    inner = rule(match("ip", "saddr", "@peers"), {"accept": None})
    inner["rule"]["chain"] = "inner"
    jump = rule(match("tcp", "dport", {"range": [6000, 7000]}), {"jump": {"target": "inner"}})
    assert judged(jump, inner, REFUSE) == ("drop", {"192.0.2.1": "accept", "192.0.2.9": "accept"})
    state = {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}
    established = rule({"match": state}, {"accept": None})
    assert judged(established, REFUSE)[0] == "drop"
