# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""After a failover and another provision.yml, each estate works, and shows nothing to those it does not concern."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from lifeline.formats.redis_conf import stored_password
from scene import Estate, Scene
from servers import make_tls

PORTS = {"redis": 6379, "sentinel": 26379}
STRANGER = "stranger"


def test_the_primary_has_not_moved(scene: Scene, estate: Estate) -> None:
    noted = json.loads(scene.primaries_file.read_text())
    assert scene.primaries(estate) == [noted[estate.name]]


def test_replicas_follow_and_sentinels_agree(scene: Scene, estate: Estate) -> None:
    (primary,) = scene.primaries(estate)
    for host in set(estate.servers) - {primary}:
        view = scene.info(estate, host)
        assert (view["master_host"], view["master_link_status"]) == (scene.addresses[primary], "up"), host
    for host in estate.sentinels:
        state = scene.ask(estate, host, "SENTINEL", "MASTER", estate.name, user="observer", port=PORTS["sentinel"])
        state = dict(zip(state[::2], state[1::2], strict=True))
        assert state["ip"] == scene.addresses[primary], host
        assert state["flags"] == "master", host
        assert int(state["num-slaves"]) == len(estate.servers) - 1, host
        assert int(state["num-other-sentinels"]) == len(estate.sentinels) - 1, host
        assert int(state["quorum"]) == len(estate.sentinels) // 2 + 1, host


def test_a_stranger_sees_only_ssh(scene: Scene, estate: Estate) -> None:
    assert scene.probe(STRANGER, "scan", address=scene.addresses[estate.servers[0]]) == [22], "of all 65535 ports"
    ours = [22, *(port + more for port in PORTS.values() for more in (0, 1, 10000))]
    for host in estate.hosts:
        assert scene.probe(STRANGER, "scan", address=scene.addresses[host], ports=ours) == [22], host


def test_an_application_host_reaches_redis_with_trust_and_password_only(
    scene: Scene, estate: Estate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not estate.applications:
        pytest.skip("the estate has no application host")
    (primary,) = scene.primaries(estate)
    where = {"address": scene.addresses[primary], "port": PORTS["redis"]}
    ours = Path(scene.variables["redis_tls_ca_src"]).read_text()
    other = make_tls(tmp_path_factory.mktemp("other")).ca.read_text()
    login = ["AUTH", "application", scene.passwords["application"]]
    (app,) = estate.applications
    assert scene.probe(app, "talk", **where, ca_text=ours, commands=[login, ["PING"]]) == ["OK", "PONG"]
    assert (
        scene.probe(app, "talk", **where, ca_text=other, commands=[["PING"]])[0]["failed"] == "SSLCertVerificationError"
    )
    assert "failed" in scene.probe(app, "talk", **where, tls=False, commands=[["PING"]])[0]
    anonymous, wrong = (
        scene.probe(app, "talk", **where, ca_text=ours, commands=[command])[0]
        for command in (["PING"], ["AUTH", "application", "wrong"])
    )
    assert anonymous["error"].startswith("NOAUTH")
    assert wrong["error"].startswith("WRONGPASS")


MAY = (
    ("application", ["SET", "rq:probe", "1"]),
    ("application", ["EVAL", "return redis.call('GET', KEYS[1])", "1", "rq:probe"]),
    ("application", ["DEL", "rq:probe"]),
    ("observer", ["INFO"]),
    ("operator", ["CONFIG", "GET", "maxmemory"]),
)
MAY_NOT = (
    ("application", ["SET", "other", "1"]),
    ("application", ["CONFIG", "GET", "requirepass"]),
    ("application", ["ACL", "LIST"]),
    ("application", ["SHUTDOWN", "NOSAVE"]),
    ("application", ["REPLICAOF", "NO", "ONE"]),
    ("application", ["FLUSHALL"]),
    ("observer", ["SET", "rq:probe", "1"]),
    ("observer", ["CONFIG", "SET", "maxmemory", "1"]),
    ("replica", ["GET", "rq:probe"]),
    ("replica", ["CONFIG", "GET", "*"]),
    ("sentinel", ["GET", "rq:probe"]),
    ("sentinel", ["CONFIG", "GET", "*"]),
)


def test_each_user_may_do_its_job_and_no_more(scene: Scene, estate: Estate) -> None:
    (primary,) = scene.primaries(estate)
    scripts = [[["AUTH", user, scene.passwords[user]], command] for user, command in (*MAY, *MAY_NOT)]
    replies = scene.probe(
        primary, "sessions", address=scene.addresses[primary], port=PORTS["redis"], ca="/etc/redis/tls/ca.crt",
        scripts=scripts,
    )  # fmt: skip
    for (user, command), reply in zip(MAY, replies, strict=False):
        assert reply[0] == "OK", f"{user} cannot log in: {reply}"
        assert not isinstance(reply[1], dict), f"{user} may not {command}: {reply}"
    for (user, command), reply in zip(MAY_NOT, replies[len(MAY) :], strict=True):
        # An estate without sentinels has no user for them.
        said = reply[1]["error"].split()[0]
        assert said == ("NOPERM" if reply[0] == "OK" else "NOAUTH"), f"{user} may {command}: {reply}"


def test_the_endpoint_reaches_the_primary(scene: Scene, estate: Estate) -> None:
    if not estate.applications:
        pytest.skip("the estate has no application host")
    ours = Path(scene.variables["redis_tls_ca_src"]).read_text()
    login = ["AUTH", "application", scene.passwords["application"]]
    for app in estate.applications:
        replies = scene.probe(
            app, "talk", address="127.0.0.1", port=6379, ca_text=ours, commands=[login, ["SET", "rq:probe", "1"]]
        )
        assert replies == ["OK", "OK"]


def test_services_start_at_boot(scene: Scene, estate: Estate) -> None:
    for host in estate.servers:
        assert scene.on(host, "systemctl", "is-enabled", estate.unit).strip() == "enabled", host
        failed = scene.on(
            host, "systemctl", "list-units", "--state=failed", "--plain", "--no-legend", f"{estate.flavour}*"
        )
        assert not failed.strip(), host


def test_B2_no_secret_shows_on_a_host(scene: Scene, host: str) -> None:
    """Before: the TLS key and the applications' settings lay in each host's journal.

    Now: nothing of them does, line by line.
    """
    key = scene.inventory / "generated" / ".lab" / f"{host}.key"
    lines = [line for line in key.read_text().splitlines() if line] if key.exists() else []
    assert lines or not any(host in estate.servers for estate in scene.estates), f"the lab made no key for {host}"
    stored = [stored_password(password) for password in scene.passwords.values()]
    assert scene.probe(host, "leaks", word="planted-", logged=lines + stored) == []


def test_no_secret_shows_in_what_ansible_says(scene: Scene) -> None:
    """The log has every playbook of the scenario with -vvv and --diff, when `make molecule` ran it."""
    if not scene.log.exists():
        pytest.skip("run by hand, without a log")
    text = scene.log.read_text(errors="replace")
    assert "PLAY [Provision every estate]" in text
    assert "Using module file" in text, "not as talkative as -vvv"
    plain = re.sub(r"\x1b\[[0-9;]*m|[\s│]", "", text)  # Molecule breaks long lines, in the middle of words too
    for word in ("planted-", "PRIVATEKEY"):
        where = plain.find(word)
        assert where < 0, plain[max(where - 300, 0) : where + 100]
