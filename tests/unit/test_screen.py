# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host said comes in as plain values that a file can hold, or as the reason why it did not."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lifeline.common.facts import DEPTH_LIMIT, plain
from lifeline.observe.screen import RESULT_LIMIT, screened, too_long, unreadable
from lifeline.plan.diagnosis import diagnose

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62, max_value=2**70),
    st.floats(),
    st.text(st.characters()),
    st.sampled_from(["\ud800", "a\udfffb", "\x00", "\u202e"]),
)
KEYS = st.one_of(st.text(), st.integers(), st.just("\ud800"))
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(KEYS, inner)),
    max_leaves=20,
)


@given(ANYTHING)
def test_B10_any_value_becomes_one_that_a_file_holds(value: Any) -> None:
    """Before: half a character, no number or a huge one in a document ended the diagnosis where it was written down.

    Now: each becomes a value that JSON and UTF-8 have.
    """
    found = plain(value)
    assert json.loads(json.dumps(found, allow_nan=False, ensure_ascii=False).encode()) == found


@given(ANYTHING)
def test_B10_any_document_is_survived(value: Any) -> None:
    for document in (value, {"host": "a", "service": "s", "logs": value, "nodes": value, "units": {"x": value}}):
        said = diagnose({"service": "s", "nodes": [], "sentinels": [], "evidence": [document], "silent": {"b": value}})
        assert not said["unjudged"]
        json.dumps(said)


def test_B10_what_is_too_deep_is_dropped() -> None:
    deep: Any = 1
    for _level in range(5000):
        deep = [deep]
    found: Any = plain({"deep": deep, "flat": 1})
    assert found["flat"] == 1
    depth = 0
    while isinstance(found := found["deep"] if isinstance(found, dict) else found[0], list):
        depth += 1
    assert depth < DEPTH_LIMIT


def test_B10_only_a_result_of_the_module_comes_in() -> None:
    facts = {"ansible_host": "evil", "discovered_interpreter_python": "/usr/bin/python3"}
    said = screened(
        {
            "evidence": {"host": "a", "x": "\ud800"},
            "ansible_facts": facts,
            "invocation": {"module_args": {}},
            "msg": "a\x1b]0;b",
            "_ansible_parsed": True,
            "add_host": {},
        }
    )
    assert said == {
        "evidence": {"host": "a", "x": "?"},
        "ansible_facts": {"discovered_interpreter_python": "/usr/bin/python3"},
        "msg": "a ]0;b",
        "_ansible_parsed": True,
    }


def test_B11_what_is_longer_than_any_evidence_is_not_read() -> None:
    assert not too_long("x" * RESULT_LIMIT)
    assert too_long("x" * (RESULT_LIMIT + 1))
    assert len(unreadable("x" * 10_000)["msg"]) < 300
