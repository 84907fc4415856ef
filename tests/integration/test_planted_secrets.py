# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets are planted wherever real servers and their hosts keep or tell them; none reaches evidence or a report."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from lifeline.report.diagnosis import work
from servers import quoted

# What generators and people make of a password; each is searched for as it is and as a URL spells it.
SECRETS = {
    "default": "pl4nted default # with blanks",
    "replica": "pl4nted'replica\"quotes%20",
    "application": "pl4nted/application@host:6379?x=1",
    "observer": "pl4nted-observer",
    "sentinel": "pl4nted>sentinel<!",
    "logged": "pl4nted-in-a-log-line",
    "argument": "pl4nted-argument of a process",
}


def spellings() -> list[str]:
    return [spelling for secret in SECRETS.values() for spelling in (secret, quote(secret, safe=""), "pl4nted")]


@pytest.fixture
def evidence(redis_server: Any, run_module: Any, tmp_path: Path) -> dict[str, Any]:
    """What redis_health says of a host on which secrets lie everywhere."""
    rules = {name: f"user {name} on {quoted('>' + SECRETS[name])} ~* &* +@all" for name in ("application", "observer")}
    primary = redis_server(
        config={"requirepass": quoted(SECRETS["default"]), "masterauth": quoted(SECRETS["replica"])},
        lines=tuple(rules.values()),
    )
    primary.passwords.update({name: SECRETS[name] for name in ("default", "application", "observer")})
    sentinel = redis_server.sentinel(
        "estate", primary, lines=(f"sentinel auth-pass estate {quoted(SECRETS['sentinel'])}",)
    )
    client = primary.client("default", SECRETS["default"])
    client.config_set("slowlog-log-slower-than", 0)
    for command in (
        ("EVAL", f"return '{SECRETS['application'][:8]}' .. ARGV[1]", "0", SECRETS["application"]),
        ("CONFIG", "SET", "masterauth", SECRETS["replica"]),
        ("ACL", "SETUSER", "third", "on", f">{SECRETS['logged']}"),
        ("CLIENT", "SETNAME", SECRETS["observer"]),
        ("AUTH", "nobody", SECRETS["logged"]),
        ("AUTH", SECRETS["observer"], "wrong"),
    ):
        with suppress(redis.exceptions.RedisError):
            client.execute_command(*command)
    with (primary.directory / "log").open("a") as log:
        for line in (
            f">>> 'requirepass {quoted(SECRETS['default'])}'",
            f"Failed to reach rediss://app:{quote(SECRETS['application'], safe='')}@10.0.0.1:6379/0",
            f"said {SECRETS['replica']} aloud: -WRONGPASS invalid username-password pair",
            f"Short write while writing to the AOF file password={SECRETS['logged']}",
        ):
            log.write(f"9:M {time.strftime('%d %b %Y %H:%M:%S')}.000 # {line}\n")
    environment = tmp_path / "redis.env"
    secret = quote(SECRETS["application"], safe="")
    environment.write_text(f"REDIS_URL=redis://application:{secret}@127.0.0.1:{primary.port}/0\n")
    process = subprocess.Popen(
        ["redis-cli", "-p", str(primary.port), "--pass", SECRETS["argument"], "--no-auth-warning", "SUBSCRIBE", "x"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    options = {
        "name": "n1",
        "service": "estate",
        "nodes": [primary.node("n1")],
        "sentinels": [{**sentinel.node("n1")}],
        "config_file": str(primary.directory / "redis.conf"),
        "sentinel_config_file": str(sentinel.directory / "redis.conf"),
        "server_log": str(primary.directory / "log"),
        "sentinel_log": str(sentinel.directory / "log"),
        "url_file": str(environment),
        "depth": "full",
        **primary.credentials("observer"),
    }
    try:
        found: dict[str, Any] = run_module("redis_health", options)["evidence"]
    finally:
        process.kill()
        process.wait()
    return found


def test_no_planted_secret_reaches_evidence_or_a_report(
    evidence: dict[str, Any], tmp_path: Path, run_module: Callable[..., Any]
) -> None:
    text = json.dumps(evidence, ensure_ascii=False)
    assert not [spelling for spelling in spellings() if spelling in text], text
    estate = {
        "service": "estate", "evidence": [evidence], "applications": ["n1"],
        "nodes": [{"name": "n1", "host": "127.0.0.1", "port": 1}],
    }  # fmt: skip
    written = work({**estate, "report_dir": str(tmp_path / "reports")}, False)["reports"]
    assert sorted(Path(path).name for path in written) == [
        "diagnosis.html", "diagnosis.json", "diagnosis.md", "evidence.json",
    ]  # fmt: skip
    for path in map(Path, written):
        assert not [spelling for spelling in spellings() if spelling in path.read_text()], path
        assert path.stat().st_mode & 0o777 == 0o640
        assert path.parent.stat().st_mode & 0o777 == 0o750


def test_the_evidence_is_still_worth_something(evidence: dict[str, Any]) -> None:
    assert evidence["nodes"]["n1"]["role"] == "master"
    assert evidence["server"]["info"]["redis_version"] and evidence["server"]["config"]["maxclients"]
    assert evidence["application"]["reachable"] is True
    assert "WRONGPASS" in json.dumps(evidence["logs"]) and "Short write" in json.dumps(evidence["logs"])
    assert evidence["errors"] == {}
