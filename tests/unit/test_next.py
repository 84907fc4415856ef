# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""diagnose.yml ends with the command to type next and what it would do; what not to do reads on after those words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from lifeline.diagnose.causes.catalogue import CATALOGUE
from lifeline.report.text import to_type

FOLLOW = {"remedy": "follow", "host": "redis1", "why": "its process is dead"}
# A text for a terminal, of which a finding shows several.
LONGEST = 400
BANNED = r"\bmend|\bfor good\b|\bfor want of\b|emptiness|somebody's hands|\bpart(y|ies)\b|for ever\b|for dead\b"


def diagnosis(verdict: str, *actions: dict[str, Any], todo: tuple[str, ...] = (), refusal: str = "") -> dict[str, Any]:
    plan = {"verdict": verdict, "actions": list(actions), "todo": list(todo), "refusal": refusal}
    return {"service": "shop", "plan": plan}


def after(*diagnoses: dict[str, Any]) -> list[str]:
    return to_type(diagnoses, "ansible-playbook -i mine recover.yml")


def test_the_command_stands_on_a_line_of_its_own_with_what_it_would_do() -> None:
    said = after(diagnosis("act", FOLLOW, todo=("Look at redis1's log.",)))
    assert said == [
        "NEXT:",
        "",
        "  ansible-playbook -i mine recover.yml",
        "",
        "  Estate shop: recover.yml would do this:",
        "  1. bring the server back as a replica (on redis1: its process is dead)",
        "  For you: Look at redis1's log.",
    ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (diagnosis("healthy"), "NEXT: nothing to do."),
        (diagnosis("degraded"), "NEXT: nothing to do."),
        (diagnosis("degraded", todo=("Wait.",)), "NEXT:\n\n  For you: Wait."),
        (
            diagnosis("refused", refusal="Nobody answers."),
            "NEXT:\n\n  Estate shop: recover.yml would change nothing. Nobody answers.",
        ),
    ],
)
def test_no_command_where_it_would_change_nothing(found: dict[str, Any], said: str) -> None:
    assert "\n".join(after(found)) == said


def test_one_command_for_all_estates() -> None:
    said = "\n".join(after(diagnosis("act", FOLLOW), diagnosis("healthy"), diagnosis("refused", refusal="No.")))
    assert said.count("ansible-playbook") == 1 and said.count("Estate shop") == 2


@pytest.mark.parametrize("cause", CATALOGUE, ids=lambda cause: cause.id)
def test_catalogue_texts_read_well(cause: Any) -> None:
    assert not cause.avoid or re.match(r"Do not \w", cause.avoid), "it is shown after the words do not"
    for text in (cause.title, cause.at_risk, cause.remedy, cause.avoid):
        assert len(text) <= LONGEST, f"{len(text)} characters: {text}"
        assert not re.search(BANNED, text, re.IGNORECASE), text
    assert not cause.title.endswith(".")
