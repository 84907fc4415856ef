# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Sentinel is told, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from lifeline.act.sentinel import Current, Wanted, incomplete, plan, shown
from lifeline.formats.sentinel_conf import stored_secrets

WANTED = Wanted(
    name="estate",
    host="192.0.2.1",
    port=6379,
    quorum=2,
    settings={"down-after-milliseconds": "5000"},
    secrets={"auth-user": "sentinel", "auth-pass": "secret#1"},
    own={"sentinel-user": "sentinel"},
    own_secrets={"sentinel-pass": "secret#1"},
)
STATE: dict[str, Any] = {"ip": "192.0.2.1", "port": 6379, "quorum": 2, "down-after-milliseconds": 5000}
STORED = {"auth-user": "sentinel", "auth-pass": "secret#1"}
OWN = {"sentinel-user": "sentinel", "sentinel-pass": "secret#1"}
SET_ALL = (
    "SET", "estate", "down-after-milliseconds", "5000", "auth-user", "sentinel", "auth-pass", "secret#1",
)  # fmt: skip


def test_nothing_to_do() -> None:
    assert plan(Current(STATE, STORED, OWN), WANTED, True).commands == []


def test_first_time() -> None:
    steps = plan(Current(None, {}, {}), WANTED, False)
    assert steps.commands == [
        ("CONFIG", "SET", "sentinel-user", "sentinel"),
        ("CONFIG", "SET", "sentinel-pass", "secret#1"),
        ("MONITOR", "estate", "192.0.2.1", "6379", "2"),
        SET_ALL,
    ]
    assert not steps.repoint
    assert "secret#1" not in str((steps.before, steps.after, shown(steps.commands)))


def test_only_what_differs() -> None:
    steps = plan(Current({**STATE, "quorum": 1}, {**STORED, "auth-pass": "old"}, OWN), WANTED, True)
    assert steps.commands == [("SET", "estate", "quorum", "2", "auth-pass", "secret#1")]
    assert shown(steps.commands) == ["SENTINEL SET estate quorum 2 auth-pass (hidden)"]


def test_another_address_forgets_all_settings_so_all_are_set_again() -> None:
    steps = plan(Current({**STATE, "ip": "192.0.2.9"}, STORED, OWN), WANTED, False)
    assert steps.repoint
    assert steps.commands == [("REMOVE", "estate"), ("MONITOR", "estate", "192.0.2.1", "6379", "2"), SET_ALL]
    assert steps.before["monitor"] == "192.0.2.9 6379"


def test_secrets_are_read_from_the_file_as_sentinel_writes_it() -> None:
    text = 'sentinel auth-pass other x\nsentinel auth-pass estate a#%b\nSENTINEL auth-user estate u\nsentinel "bad\n'
    assert stored_secrets(text, "estate") == {"auth-user": "u", "auth-pass": "a#%b"}
    assert stored_secrets("sentinel auth-pass estate pa ss\n", "estate") == {}


@pytest.mark.parametrize(
    ("replicas", "others", "expected"),
    [
        (2, 2, ""),
        (3, 5, ""),
        (1, 2, "1 of 2 replicas"),
        (0, 0, "0 of 2 replicas and 0 of 2 other sentinels"),
    ],
)
def test_what_a_sentinel_does_not_see(replicas: int, others: int, expected: str) -> None:
    assert incomplete({"num-slaves": replicas, "num-other-sentinels": others}, 2, 3) == expected
