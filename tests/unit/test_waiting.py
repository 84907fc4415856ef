# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waiting ends with the condition or with the time, and asks at least once."""

from __future__ import annotations

import time

from lifeline.common.waiting import until


def test_it_ends_with_the_condition() -> None:
    answers = iter([0, 0, 3, 4])
    assert until(lambda: next(answers), 60, pause=0.001) == 3


def test_it_ends_with_the_time_and_gives_the_last_answer() -> None:
    started = time.monotonic()
    assert until(lambda: "", 0.05, pause=0.01) == ""
    assert time.monotonic() - started >= 0.05


def test_without_time_it_asks_once() -> None:
    asked: list[int] = []
    assert until(lambda: asked.append(1), -1) is None
    assert asked == [1]
