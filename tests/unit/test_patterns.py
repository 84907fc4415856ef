# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No text makes a regular expression of ours slow, whoever wrote the text."""

from __future__ import annotations

from pathlib import Path

import patterns
import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("module_utils", "plugins", "library", "roles")

# A text of this length takes a linear pattern well below a millisecond, a quadratic one tenths of a second.
LENGTH, SECONDS = 10_000, 0.025

USES = [use for place in PLACES for use in patterns.uses(ROOT / place, patterns.module_of)]


def test_B1_every_pattern_is_found() -> None:
    """The collection sees compiled patterns, tables of them, and those that stand in a call."""
    said = "\n".join(map(str, USES))
    assert len(USES) > 120
    for needle in ("redact.py:_RULES", "logs.py:_ANY", "logs.py:_COMPILED", "host.py", "selection.py:_AGE", "\\d{4}"):
        assert needle in said


@pytest.mark.parametrize("use", USES, ids=lambda use: use.where)
def test_B1_no_pattern_is_slow(use: patterns.Use) -> None:
    """Before: a text of 60 backslashes in ACL LOG kept one pattern busy forever, "token-" 333 times for seconds.

    Now: each pattern of the product is tried with texts made of its own parts, and time grows with their length only.
    """
    text = patterns.slow(use, LENGTH, SECONDS)
    assert text is None, f"{use} takes more than {SECONDS} s with {len(text or '')} characters: {text[:60]!r}"
