# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looking at several things at once."""

from __future__ import annotations

import threading
import time

from lifeline.observe.parallel import each, side_by_side


def test_one_that_hangs_or_fails_is_named_and_not_waited_for() -> None:
    never = threading.Event()
    started = time.monotonic()
    found, errors = side_by_side({"good": lambda: 1, "bad": lambda: 1 // 0, "hangs": never.wait}, 0.2)
    assert time.monotonic() - started < 2
    assert found == {"good": 1}
    assert errors["bad"].startswith("ZeroDivisionError")
    assert errors["hangs"].startswith("timeout")


def test_nothing_to_look_at() -> None:
    assert side_by_side({}, 1) == ({}, {})


def test_no_more_at_a_time_than_told() -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def ask(item: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1
        return item * 2

    answers = {item: answer for item, answer, _error in each(range(20), ask, 5, 3)}
    assert answers == {item: item * 2 for item in range(20)}
    assert most[0] <= 3
