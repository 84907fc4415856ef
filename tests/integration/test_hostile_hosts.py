# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host whose Python answers anything, or never: the others are looked at and judged as if it were silent."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from lifeline.diagnose.evidence import load
from modules import ROOT, ansible
from servers import Servers


def result(evidence: Any) -> bytes:
    """What the module prints for this evidence."""
    return json.dumps({"changed": False, "evidence": evidence}).encode()


def document(**more: Any) -> dict[str, Any]:
    """A document of the hostile host."""
    return {"version": 1, "host": "a-hostile", "service": "redis", "nodes": {}, "sentinels": {}, **more}


# What the host's Python prints, and the words that the diagnosis has for it; "" where its evidence counts.
ANSWERS: dict[str, tuple[bytes, str]] = {
    "100,000 nested lists": (b'{"evidence": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cannot be read"),
    "800 deep": (
        b'{"evidence": {"host": "a-hostile", "service": "redis", "deep": ' + b"[" * 800 + b"]" * 800 + b"}}", "",
    ),
    "a lone surrogate": (
        result(document(logs={"\ud800": "\ud800"}, platform={"distribution": "\udfff"})), "cannot be read",
    ),
    "no numbers": (result(document(time=float("nan"), took_s=float("inf"), disk={"/etc": 10**400})), ""),
    "91 MiB": (b'{"evidence": {"host": "a-hostile", "x": [' + b'"a",' * 24_000_000 + b'""]}}', "91 MiB"),
    "evidence that is text": (result("no"), "not a document"),
    "no JSON": (b"<html>", "deserialization failed"),
}  # fmt: skip


def estate(directory: Path, server: Any, answer: str) -> Path:
    """An inventory of one honest host and one whose interpreter runs ``answer``; the hostile one is the first."""
    python = directory / "python"
    python.write_text(f"#!/bin/sh\ncat > /dev/null\n{answer}\n")
    python.chmod(0o755)
    hosts = {
        "a-hostile": {"ansible_python_interpreter": str(python), "redis_address": "127.0.0.2"},
        "b-honest": {"ansible_python_interpreter": sys.executable},
    }
    common = {
        "ansible_connection": "local", "ansible_become": False, "redis_address": "127.0.0.1",
        "redis_port": server.port, "redis_tls_enabled": False, "redis_password_observer": "password",
    }  # fmt: skip
    inventory = directory / "inventory.json"
    inventory.write_text(json.dumps({"redis": {"hosts": hosts, "vars": common}}))
    return inventory


def look(directory: Path, inventory: Path, *more: str) -> tuple[Any, float, str]:
    """(the estate that was saved, the seconds that it took, what was printed) of diagnose.yml."""
    started = time.monotonic()
    done = ansible(
        "ansible-playbook", "-i", str(inventory), str(ROOT / "playbooks/diagnose.yml"), "-e", "diagnose_fail=false",
        "-e", "diagnose_patience=1", "-e", f"diagnose_report_dir={directory}/reports", *more, timeout=120,
    )  # fmt: skip
    took = time.monotonic() - started
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-5000:]
    (saved,) = load(f"{directory}/reports")
    return saved, took, said


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "91 MiB"])
def test_B10_one_host_does_not_silence_the_estate(name: str, tmp_path: Path, redis_server: Servers) -> None:
    """Before: the first host answered with a lone surrogate or 100,000 nested lists, and diagnose said nothing.

    Now: what can be read of it counts; else it is silent, the reason is said, and the others are judged.
    """
    answer, words = ANSWERS[name]
    (tmp_path / "answer").write_bytes(answer)
    server = redis_server(users={"observer": ("password", "~* +@all")})
    saved, _took, said = look(tmp_path, estate(tmp_path, server, f"cat {tmp_path}/answer"))
    honest = next(entry for entry in saved["evidence"] if entry["host"] == "b-honest")
    assert honest["nodes"]["b-honest"]["role"] == "master"
    assert words in saved["silent"].get("a-hostile", ""), saved["silent"]
    assert ("a-hostile" in saved["silent"]) == bool(words)
    assert "Traceback" not in said
    assert not re.search("[\ud800-\udfff]", said)


def test_B9_a_host_that_never_answers_costs_the_others_its_time_only(tmp_path: Path, redis_server: Servers) -> None:
    """Before: a host whose Python never answered held up diagnose, recover and compliance for all hosts, forever.

    Now: it has 30 s beyond the look's own limits, is silent then, and the others are judged.
    """
    server = redis_server(users={"observer": ("password", "~* +@all")})
    inventory = estate(tmp_path, server, "exec sleep 600")
    saved, took, _said = look(tmp_path, inventory, "-e", "redis_look_timeout=2")
    assert took < 30
    assert [entry["host"] for entry in saved["evidence"]] == ["b-honest"]
    assert "did not answer within 6 s" in saved["silent"]["a-hostile"]


def test_B11_evidence_of_91_mib_is_not_read(tmp_path: Path, redis_server: Servers) -> None:
    """Before: 91 MiB of one host's evidence cost the control node 4.6 GiB.

    Now: what is longer than any evidence is not parsed.
    """
    (tmp_path / "answer").write_bytes(ANSWERS["91 MiB"][0])
    server = redis_server(users={"observer": ("password", "~* +@all")})
    saved, _took, _said = look(tmp_path, estate(tmp_path, server, f"cat {tmp_path}/answer"))
    assert "a-hostile" in saved["silent"]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1 << 20
