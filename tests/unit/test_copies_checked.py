# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies are checked before one is chosen: what a cut and a damaged file look like, and which copy is started then."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from estates import Estate
from hypothesis import given
from hypothesis import strategies as st
from lifeline.diagnose.findings import Finding
from lifeline.observe.copies import append_only_marks, cut_off
from lifeline.plan.recovery import make_plan
from lifeline.plan.steps import Accepted, Plan


def command(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)


SET = command("SET", "key:1", "a value of some length")


@given(st.integers(min_value=1, max_value=len(SET) - 1))
def test_a_command_that_ends_early_is_cut_off(length: int) -> None:
    assert cut_off(SET[:length], length)


@pytest.mark.parametrize(
    ("rest", "cut"),
    [
        (command("MULTI") + SET, True),
        (command("MULTI") + SET + SET[:9], True),
        (SET, False),
        (b"\0" * 100, False),
        (b"*3\r\n$3\r\nSET\r\n$999999999\r\nvalue", True),
        (b"*3\r\n$3\r\nSETxx$1\r\n", False),
        (b"*\r\n", False),
        (b"hello", False),
        (b"", False),
    ],
)
def test_what_a_server_loads_up_to(rest: bytes, cut: bool) -> None:
    assert cut_off(rest, len(rest)) == cut


def test_marks_tell_how_much_one_copy_lacks() -> None:
    records = [command("SET", f"key:{number}", "x" * (number % 50)) for number in range(500)]
    short, long = b"".join(records[:400]), b"".join(records)
    damaged = long[: len(long) // 2] + b"\0" * 24 + long[len(long) // 2 + 24 :]
    mine, theirs = append_only_marks(short), append_only_marks(damaged)
    lacking = {theirs[mark] - mine[mark] for mark in set(mine) & set(theirs)}
    assert lacking == {len(long) - len(short)}
    assert append_only_marks(SET * 3) == {} == append_only_marks(b"no commands")


def checked(
    age_s: float, state: str = "whole", lost: int = 900, marks: Optional[dict[str, int]] = None
) -> dict[str, Any]:
    """What one host's disk holds: whole, cut, or damaged in the middle."""
    whole = state == "whole"
    said = {} if whole else {"lost_bytes": lost, "lost_records": 3, "why": f"it is {state} at byte 100"}
    check = {"ok": whole, "loads": state != "damaged", "marks": marks or {}, **said}
    return {"aof": {"size": 1000, "manifest": True, "age_s": age_s}, "check": {"aof": check}}


def plan_of(accepted: Accepted = Accepted(), tried: tuple[str, ...] = (), **files: dict[str, Any]) -> Plan:  # noqa: B008
    estate = Estate()
    for name in estate.names:
        estate.kill(name)
        estate.evidence[name]["files"].update(files.get(name) or {"aof": None, "rdb": None})
    return make_plan(estate.build(), tried=tried, accepted=accepted)


def started(plan: Plan) -> list[str]:
    return [action.host for action in plan.actions if action.remedy == "start_primary"]


def test_A16_a_copy_that_does_not_load_is_passed_over() -> None:
    """Before: the copy written to last was started in vain, round after round, though whole ones lay elsewhere.

    Now: every copy is checked first; the next best one is started, and what that loses is said.
    """
    plan = plan_of(redis1=checked(1.0, "damaged"), redis2=checked(1.5), redis3=checked(1.9))
    assert started(plan) == ["redis2"]
    assert "redis1" in str(plan.loss) and "passed over" in str(plan.loss) and "byte 100" in str(plan.loss)


@pytest.mark.parametrize(("behind", "host"), [(500, ["redis3"]), (2_000_000, [])])
def test_an_older_copy_is_taken_as_far_as_the_limit(behind: int, host: list[str]) -> None:
    """As L12: the best is damaged, one disk is empty, the third is older by so many bytes."""
    files = {
        "redis1": checked(1.0, "damaged", marks={"m": 100 + behind}),
        "redis3": checked(60.0, marks={"m": 100, "other": 7}),
    }
    plan = plan_of(**files)
    assert started(plan) == host
    assert f"({behind} bytes)" in str(plan.loss if host else plan.refusal)
    if not host:
        assert f"recover_accept_data_loss=redis1 -e recover_accept_data_loss_bytes={behind}" in str(plan.refusal)
        assert started(plan_of(Accepted(frozenset({"redis1"}), behind), **files)) == ["redis3"]


def test_an_older_copy_of_which_nobody_knows_what_it_lacks_takes_a_persons_word() -> None:
    files = {"redis1": checked(1.0, "damaged"), "redis3": checked(60.0)}
    plan = plan_of(**files)
    assert plan.verdict == "refused" and "recover_accept_data_loss=redis1 -e" in str(plan.refusal)
    assert started(plan_of(Accepted(frozenset({"redis1"}), -1), **files)) == ["redis3"]


def test_a_cut_end_is_dropped_and_said() -> None:
    plan = plan_of(redis1=checked(1.0, "cut", lost=900), redis2=checked(60.0))
    assert started(plan) == ["redis1"]
    assert "900 bytes of redis1 (3 records)" in str(plan.loss)
    much = plan_of(redis1=checked(1.0, "cut", lost=2_000_000), redis2=checked(60.0))
    assert started(much) == [] and "recover_accept_data_loss_bytes=2000000" in str(much.refusal)
    one = Accepted(frozenset({"redis1"}), 2_000_000)
    assert started(plan_of(one, redis1=checked(1.0, "cut", lost=2_000_000))) == ["redis1"]


def test_where_no_copy_loads_nothing_is_started() -> None:
    plan = plan_of(redis1=checked(1.0, "damaged", lost=4242))
    assert plan.verdict == "refused" and started(plan) == []
    assert "4242 bytes in 3 records are behind that" in str(plan.refusal)


def test_a_start_in_vain_makes_the_next_best_copy_the_candidate() -> None:
    files = {"redis1": checked(1.0), "redis2": checked(1.5)}
    assert started(plan_of(**files)) == ["redis1"]
    assert started(plan_of(tried=("start_primary@redis1",), **files)) == ["redis2"]
    assert started(plan_of(tried=("start_primary@redis1", "start_primary@redis2"), **files)) == []


@pytest.mark.parametrize(("ok", "host"), [(None, ["redis2"]), (True, ["redis1"])])
def test_a_plan_does_not_start_what_its_findings_call_damaged(ok: Optional[bool], host: list[str]) -> None:
    """As L12; a check that finds the copy whole says more than an old line of a log."""
    estate = Estate()
    for name in estate.names:
        estate.kill(name)
        estate.evidence[name]["files"]["aof"]["age_s"] = 1.0
    estate.evidence["redis1"]["files"]["check"] = {"aof": {"ok": ok, "loads": ok}}
    found = Finding("aof_corrupt", "The append-only file is corrupt in the middle", "redis1", "critical")
    assert started(make_plan(estate.build(), [found])) == host


def test_a_server_whose_copy_does_not_load_comes_back_without_it() -> None:
    """Started on it as a replica it would fail first; it is moved aside, kept, and the primary's data is copied."""
    estate = Estate().promote("redis2", 1000).kill("redis1")
    estate.evidence["redis1"]["files"].update(checked(1.0, "damaged"))
    (step,) = (step for step in make_plan(estate.build()).actions if step.host == "redis1")
    assert (step.remedy, step.args.get("fresh")) == ("follow", True)
    estate.evidence["redis1"]["files"].update(checked(1.0))
    (step,) = (step for step in make_plan(estate.build()).actions if step.host == "redis1")
    assert (step.remedy, step.args.get("fresh")) == ("follow", False)


def test_a_copy_that_could_not_be_checked_is_started_and_that_is_said() -> None:
    blind = checked(1.0)
    blind["check"]["aof"].update(ok=None, loads=None, why="it has 5000000000 bytes, too many to check")
    plan = plan_of(redis1=blind)
    assert started(plan) == ["redis1"] and "not checked: it has 5000000000 bytes" in plan.actions[0].why
