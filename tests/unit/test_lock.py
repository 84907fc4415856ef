# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run at a time: who gets the lock, who is told, and what a dead run leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline import lock
from lifeline.errors import LifelineError


def ask(directory: Path, run: str, check: bool = False, **options: Any) -> dict[str, Any]:
    params = {
        "estate": "orders", "state": "held", "run": run, "who": f"{run} on control", "what": "recover.yml",
        "stale": 900.0, "process": "", "unfinished": False, "dead_run": "", "directory": str(directory), **options,
    }  # fmt: skip
    return lock.work(params, check)


def test_the_second_run_is_told_who_and_since_when(tmp_path: Path) -> None:
    first = ask(tmp_path, "alice")
    second = ask(tmp_path, "bob")
    assert (first["held"], first["changed"]) == (True, True)
    assert (second["held"], second["changed"]) == (False, False)
    assert second["holder"]["who"] == "alice on control"
    assert second["holder"]["since"] > 0


def test_a_run_renews_its_own_lock_and_that_is_no_change(tmp_path: Path) -> None:
    ask(tmp_path, "alice")
    since = lock.parse(lock.path_of(str(tmp_path), "orders").read_text()).since  # type: ignore[union-attr]
    again = ask(tmp_path, "alice")
    after = lock.parse(lock.path_of(str(tmp_path), "orders").read_text())
    assert (again["held"], again["changed"]) == (True, False)
    assert after is not None and after.since == since and after.renewed >= since


def test_a_lock_that_was_given_back_is_free(tmp_path: Path) -> None:
    ask(tmp_path, "alice")
    assert ask(tmp_path, "bob", state="released")["changed"] is False
    assert ask(tmp_path, "bob")["held"] is False
    assert ask(tmp_path, "alice", state="released")["changed"] is True
    assert ask(tmp_path, "alice", state="released")["changed"] is False
    assert ask(tmp_path, "bob")["held"] is True


def test_a_dead_runs_lock_is_taken_over_and_named(tmp_path: Path) -> None:
    ask(tmp_path, "alice")
    taken = ask(tmp_path, "bob", stale=-1.0)
    assert (taken["held"], taken["stale"], taken["holder"]["run"]) == (True, True, "alice")
    assert ask(tmp_path, "alice")["held"] is False


def test_a_run_that_is_known_to_be_dead_holds_nothing(tmp_path: Path) -> None:
    ask(tmp_path, "alice")
    assert ask(tmp_path, "bob", dead_run="carol")["held"] is False
    taken = ask(tmp_path, "bob", dead_run="alice")
    assert (taken["held"], taken["stale"]) == (True, True)


def test_whoever_comes_after_runs_that_did_not_finish_is_told_since_when(tmp_path: Path) -> None:
    ask(tmp_path, "alice")
    began = json.loads(lock.path_of(str(tmp_path), "orders").read_text())["since"]
    assert ask(tmp_path, "bob", dead_run="alice")["unfinished"] == began
    assert ask(tmp_path, "bob", state="released", unfinished=True)["changed"] is True
    assert ask(tmp_path, "carol", check=True)["unfinished"] == began
    carol = ask(tmp_path, "carol")
    assert (carol["held"], carol["stale"], carol["unfinished"]) == (True, False, began)
    assert ask(tmp_path, "carol")["unfinished"] == began
    ask(tmp_path, "carol", state="released")
    assert ask(tmp_path, "dave")["unfinished"] == 0.0


def test_a_control_node_knows_its_own_dead_and_nobody_elses() -> None:
    ended = subprocess.Popen(["true"])
    ended_as = lock.here(ended.pid)
    ended.wait()
    assert lock.has_died(ended_as)
    assert not lock.has_died(lock.here(os.getpid()))
    assert not lock.has_died(f"another-boot:{ended.pid}:1")
    assert not lock.has_died("")


def test_a_check_run_leaves_no_trace(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    told = {"changed": True, "held": True, "holder": None, "stale": False, "unfinished": 0.0}
    assert ask(directory, "alice", check=True) == told
    assert not directory.exists()
    ask(directory, "alice")
    before = lock.path_of(str(directory), "orders").read_text()
    assert ask(directory, "bob", check=True)["held"] is False
    assert lock.path_of(str(directory), "orders").read_text() == before


def test_estates_on_one_host_do_not_share_a_lock(tmp_path: Path) -> None:
    assert ask(tmp_path, "alice", estate="a/b")["held"] and ask(tmp_path, "bob", estate="a")["held"]


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: ask(tmp_path, f"run{number}"), range(64)))
    assert sum(answer["held"] for answer in answers) == 1


def test_a_place_that_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LifelineError, match="cannot be written on this host"):
        ask(tmp_path / "file", "alice")


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_whatever_a_lock_file_holds_it_is_read(text: str) -> None:
    holder = lock.parse(text)
    assert holder is None or lock.decide(holder, "me", 0.0, 900.0) in ("free", "ours", "stale", "taken")
