# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the RQ modules think, without a server."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.errors import LifelineError
from lifeline.rq import explain, lua, options, report
from lifeline.rq.batches import fitting, retries
from lifeline.rq.keys import Keys, matching, names, text
from lifeline.rq.page import BehindError, Lane, encode, parse, texts
from lifeline.rq.payload import UNKNOWN, exception_name, function_name, probably_completed, traceback_text
from lifeline.rq.progress import MOST, STILL, Progress, duration, waiting_s
from lifeline.rq.scan import known_queues
from lifeline.rq.selection import Selection, age, moment, selection, stamp
from lifeline.rq.server import passing, target
from lifeline.rq.tally import Errors, Tally
from lifeline.rq.walk import spelled

CALL = ("app.jobs.send_mail", None, (1, "x" * 5000), {})


class TestKeys:
    def test_a_prefix_may_be_a_hash_tag(self):
        keys = Keys("{rq}")
        assert keys.job(b"a") == b"{rq}:job:a"
        assert keys.registry("failed", b"q") == b"{rq}:failed:q"
        assert keys.queue_name(b"{rq}:queue:q") == b"q"

    @pytest.mark.parametrize(
        "key", [b"rq:queue:q:intermediate", b"rq:queue:q:intermediate:first_seen:a", b"queue:q", b""]
    )
    def test_what_is_no_queue(self, key):
        assert Keys().queue_name(key) == b""

    def test_patterns_and_plain_names(self):
        names = [b"mail", b"mail-slow", b"[x]", b"\xff"]
        assert matching(names, ["mail*"]) == [b"mail", b"mail-slow"]
        assert matching(names, ["[x]"]) == [b"[x]"], "a name that looks like a pattern is still a name"
        assert matching(names, ["Mail"]) == []
        assert len(matching(names, ["*"])) == 4

    def test_bytes_are_shown(self):
        assert text(b"a\xff") == "a\\xff"


class TestFunctions:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("compress", [zlib.compress, bytes], ids=["zlib", "plain"])
    def test_every_pickle_protocol(self, protocol, compress):
        assert function_name(compress(pickle.dumps(CALL, protocol=protocol))) == CALL[0]

    def test_names_outside_ascii_and_long_ones(self):
        for name in ("app.größe", "a" * 300):
            for protocol in range(6):
                assert function_name(zlib.compress(pickle.dumps((name, None, (), {}), protocol=protocol))) == name

    @pytest.mark.parametrize("name", ["app.work", 'a"b', "größe", "a\\nb"])
    def test_json(self, name):
        assert function_name(zlib.compress(json.dumps([name, None, [], {}]).encode())) == name

    def test_the_first_512_bytes_are_enough(self):
        assert function_name(zlib.compress(pickle.dumps(CALL))[:512]) == CALL[0]

    def test_nothing_is_executed(self, tmp_path):
        class Hostile:
            def __reduce__(self) -> Any:
                return (open, (str(tmp_path / "proof"), "w"))

        for protocol in range(6):
            function_name(zlib.compress(pickle.dumps((Hostile(), None, (), {}), protocol=protocol)))
        assert not (tmp_path / "proof").exists()

    def test_a_bomb_stays_small(self):
        assert function_name(zlib.compress(b"\x80\x04" + b"(" * (64 << 20))) == UNKNOWN

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data):
        assert isinstance(function_name(data), str)
        assert isinstance(function_name(zlib.compress(data)), str)
        assert isinstance(exception_name(traceback_text(data)), str)


def worker(*frames: str, error: str = "redis.exceptions.ConnectionError: Error 111") -> str:
    """A traceback as a worker stores it."""
    lines = ["Traceback (most recent call last):"]
    for frame in frames:
        path, name = frame.rsplit(" ", 1)
        lines += [f'  File "/venv/lib/python3.11/site-packages/{path}", line 7, in {name}', "    code()"]
    return "\n".join([*lines, error])


class TestErrors:
    # The frames of RQ 1.16, 2.12 and 3.0 when Redis is lost while a job runs, and after it.
    @pytest.mark.parametrize(
        "frames",
        [
            ["rq/worker.py perform_job", "rq/job.py heartbeat", "redis/client.py execute_command"],
            ["rq/worker.py perform_job", "rq/worker.py handle_job_success", "redis/client.py execute"],
            ["rq/worker/base.py perform_job", "rq/worker/base.py _finalize_success", "rq/job.py heartbeat"],
        ],
    )
    def test_redis_lost_after_the_functions_return(self, frames):
        assert probably_completed(worker(*frames))
        assert probably_completed(worker(*frames, error="redis.exceptions.TimeoutError: Timeout"))
        assert not probably_completed(worker(*frames, error="ValueError: x"))

    @pytest.mark.parametrize(
        "frames",
        [
            ["rq/worker.py perform_job", "rq/job.py perform", "rq/job.py _execute", "app.py work"],
            ["rq/worker.py perform_job", "rq/worker.py prepare_job_execution", "redis/client.py execute"],
            ["app.py work"],
        ],
    )
    def test_redis_lost_before_or_in_the_function(self, frames):
        assert not probably_completed(worker(*frames))

    @pytest.mark.parametrize(
        ("stored", "name"),
        [
            (worker("app.py work", error="ValueError: a\n  b: c"), "ValueError"),
            (worker("a.py a") + "\n\nDuring handling, another:\n\n" + worker("b.py b", error="x.Y"), "x.Y"),
            ("Moved to FailedJobRegistry, due to AbandonedJobError, at 2026", "rq.exceptions.AbandonedJobError"),
            ("Work-horse terminated unexpectedly; waitpid returned 9", "(work-horse terminated)"),
            ("Job was stuck in intermediate queue.", "(stuck in intermediate queue)"),
            ("", UNKNOWN),
            ("???", UNKNOWN),
        ],
    )
    def test_names(self, stored, name):
        assert exception_name(stored) == name

    def test_stored_texts(self):
        packed = zlib.compress(b"text")
        for stored in (packed, base64.b64encode(packed), b"text"):
            assert traceback_text(stored) == "text"
        assert traceback_text(None) == ""

    def test_each_traceback_is_judged_once_and_few_are_sent(self):
        errors = Errors(Selection(queues=("*",)))
        gone = worker("rq/worker.py perform_job", "rq/job.py heartbeat")
        texts_ = {"safe": zlib.compress(b"ValueError: x"), "gone": zlib.compress(gone.encode())}
        errors.learn(reply(texts=texts_))
        assert errors.sent() == {"safe": ["safe"], "unsafe": ["gone"]}
        assert errors.of("gone").why_not == "completed"
        errors.learn(reply(texts={f"e{number}": zlib.compress(str(number).encode()) for number in range(100)}))
        assert len(errors.sent()["safe"]) == 64


def reply(**parts: Any) -> Any:
    """A reply of the script."""
    whole: dict[str, Any] = {
        "seen": 0, "moved": 0, "skip": 0, "last": "", "skipped": {}, "why": {}, "queues": {}, "rows": {}, "texts": {},
        "counts": {},
    }  # fmt: skip
    whole.update(parts)
    whole["texts"] = {name: stored.decode("latin-1") for name, stored in whole["texts"].items()}
    return parse(json.dumps(whole).encode("latin-1", "backslashreplace"))


class TestPages:
    def test_lua_cannot_tell_empty_lists_from_tables(self):
        found = reply(why=[["\xff", "missing"]], queues={"\xff": 2}, seen=3.0)
        assert found.why == [(b"\xff", "missing")]
        assert found.queues == {b"\xff": 2}
        assert (found.seen, found.rows, found.ids) == (3, [], [])
        assert texts(b"{}") == []

    def test_a_primary_that_is_behind(self):
        with pytest.raises(BehindError) as caught:
            parse(b'{"behind": 4}')
        assert caught.value.batch == 4

    def test_nonsense_is_one_sentence(self):
        with pytest.raises(LifelineError, match="unreadable"):
            parse(b"<html>")

    def test_no_nulls_are_sent(self):
        assert json.loads(encode({"a": None, "b": False, "c": 0})) == {"b": False, "c": 0}

    def test_a_lane_steps_over_what_stays(self):
        lane = Lane("failed", b"q", b"k", total=25)
        lane.passed(reply(seen=10), 10, 7)
        assert (lane.skip, lane.gone, lane.left(), lane.done) == (3, 7, 15, False)
        lane.passed(reply(seen=10, skip=3), 10, 10)
        assert (lane.skip, lane.left(), lane.done) == (3, 5, False)
        lane.passed(reply(seen=5, skip=3), 5, 5)
        assert (lane.left(), lane.done) == (0, True)

    def test_a_lane_backwards(self):
        lane = Lane("failed", b"q", b"k", total=15, high=14)
        lane.passed(reply(seen=10), 10, 10)
        assert (lane.high, lane.left(), lane.done) == (4, 5, False)
        lane.passed(reply(seen=5), 10, 5)
        assert lane.done

    def test_a_tally_survives_json(self):
        tally = Tally(requeued=3, ids=[b"\xff"])
        tally.queues[b"\xfe"] += 3
        tally.taken["failed", b"q"] += 3
        assert Tally.restore(json.loads(json.dumps(tally.state()))) == tally


def params(**given_: Any) -> dict[str, Any]:
    """Options with their defaults."""
    spec = options.requeue()
    return {**{name: option.get("default") for name, option in spec.items()}, "queues": ["q"], **given_}


class TestSelection:
    @pytest.mark.parametrize(
        ("given_", "words"),
        [
            ({}, "all_jobs: true"),
            ({"queues": []}, r"\['\*'\]"),
            ({"queues": [""], "all_jobs": True}, r"\['\*'\]"),
            ({"failed_after": "yesterday"}, "failed_after"),
            ({"older_than": "1 week"}, "older_than"),
            ({"exception": "("}, "regular expression"),
        ],
    )
    def test_what_is_refused(self, given_, words):
        with pytest.raises(LifelineError, match=words):
            selection(params(**given_), 0)

    def test_the_window_ends_at_the_earlier_bound(self):
        chosen = selection(params(failed_before="1000", older_than="15m"), 1500)
        assert (chosen.after, chosen.before) == (None, 600)

    def test_functions(self):
        chosen = Selection(queues=("q",), functions=("app.*",), exclude_functions=("app.pay*",))
        assert chosen.wants_function("app.mail")
        assert not chosen.wants_function("app.pay_bill")
        assert not chosen.wants_function("other")

    @pytest.mark.parametrize(
        "given_", ["2026-11-23T03:10:00Z", "2026-11-23 03:10:00", "2026-11-23T04:10:00+01:00", "1795403400"]
    )
    def test_times(self, given_):
        assert moment(given_, "x") == 1795403400
        assert stamp(1795403400) == "2026-11-23T03:10:00.000000Z"

    @pytest.mark.parametrize(("given_", "seconds"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("2 d", 172800)])
    def test_ages(self, given_, seconds):
        assert age(given_) == seconds

    def test_retries(self):
        assert (retries("keep"), retries("3")) == (None, 3)
        with pytest.raises(LifelineError, match="retries"):
            retries("-1")

    @given(st.floats(allow_nan=False))
    def test_scores_are_spelled_so_that_they_read_back(self, score):
        assert float(spelled(score)) == score


class TestTargets:
    def test_a_url_says_it_all(self):
        where = target(params(url="rediss://me:p%20w%2F%23@h:7000/3", login_host="other"))
        assert (str(where.endpoint), where.database, where.credentials.tls) == ("h:7000", 3, True)
        assert (where.credentials.user, where.credentials.password) == ("me", "p w/#")
        assert target(params(url="unix:///run/redis.sock?db=2")).database == 2
        assert "p w" not in repr(where)

    def test_a_url_may_leave_tls_and_the_database_to_the_options(self):
        where = target(params(url="redis://h", tls=True, login_db=4))
        assert (where.credentials.tls, where.database) == (True, 4)

    def test_a_url_may_leave_the_login_to_the_options(self):
        where = target(params(url="redis://h", login_user="me", login_password="secret"))
        assert (where.credentials.user, where.credentials.password) == ("me", "secret")

    @pytest.mark.parametrize("url", ["http://h", "redis://h:port", "redis://h/zero", "h:6379"])
    def test_urls_that_are_none(self, url):
        with pytest.raises(LifelineError, match="URL is not valid"):
            target(params(url=url))

    @pytest.mark.parametrize(
        ("entry", "shown"),
        [("h", "h:6379"), ("h:1", "h:1"), ("[::1]:2", "[::1]:2"), ({"host": "h", "port": 3, "name": "n"}, "h:3")],
    )
    def test_nodes(self, entry, shown):
        assert str(target(params(nodes=[entry])).nodes[0]) == shown

    @pytest.mark.parametrize("entry", ["", "h:x", {"port": 1}, {"host": "h", "port": "x"}, "a/b"])
    def test_addresses_that_are_none(self, entry):
        with pytest.raises(LifelineError, match="nodes"):
            target(params(nodes=[entry]))

    def test_sentinels_need_a_name_and_may_have_their_own_login(self):
        with pytest.raises(LifelineError, match="sentinel_service"):
            target(params(sentinels=["h"]))
        own = {"sentinels": ["h"], "sentinel_service": "s", "login_user": "me", "login_password": "p", "tls": True}
        where = target(params(**own, sentinel_password="other", sentinel_tls=False)).sentinel_credentials
        assert where is not None
        assert (where.user, where.password, where.tls) == (None, "other", False)
        assert target(params(**own)).sentinel_credentials == target(params(**own)).credentials

    def test_what_passes_by_itself(self):
        assert passing(ConnectionRefusedError("Connection refused"))
        assert passing(TimeoutError("timed out"))
        assert not passing(ValueError("WRONGPASS invalid username-password pair"))


class TestWords:
    def test_progress(self):
        progress = Progress("h1", 100.0)
        piece = {"total": 1_000_000, "to_look_at": 750_000, "requeued": 240_000}
        said = progress.line(piece, 105.0)
        assert said == "rq_requeue on h1: 250,000 of 1,000,000 jobs (25 %), 240,000 put back, 50,000/s, 15 s left"
        assert progress.total({"requeued": 1_000_000, "duration": 1}, 120.0)["rate"] == 50_000
        assert Progress("", 0).total({"requeued": 5, "duration": 1}, 9.0) == {"requeued": 5, "duration": 1}
        assert "unknown left" in Progress("", 0).line({"total": 5, "to_look_at": 5, "requeued": 0}, 0.0)

    def test_B9_a_host_that_is_never_finished_is_given_up(self) -> None:
        """Before: a host that answered "not finished" forever kept the run forever.

        Now: slices end where nothing moves any more, after a day, and where the answer is not the module's.
        """
        for odd in ({}, {"resume": None}, {"resume": {"dead": {}}}, {"resume": {"dead": {"wait_s": [1]}}}):
            assert waiting_s(odd) == 0.0
        assert waiting_s({"resume": {"dead": {"wait_s": -1}}}) == 0.0
        assert waiting_s({"resume": {"dead": {"wait_s": "33.2"}}}) == 33.2
        assert waiting_s({"resume": {"dead": {"wait_s": float("inf")}}}) == MOST
        progress = Progress("h1", 0.0)
        piece = {"total": 9, "to_look_at": 5, "requeued": 0, "resume": "x"}
        stuck = [progress.stuck(piece) for _slice in range(STILL + 1)]
        assert not any(stuck[:-1]) and "gets no further" in stuck[-1]
        assert not progress.stuck({**piece, "requeued": 1})
        progress.slices = MOST
        assert "gets no further" in progress.stuck({**piece, "requeued": 2})
        for odd in ({}, {**piece, "total": "x"}, {**piece, "total": None}, {**piece, "total": float("inf")}):
            assert "is not that of rq_requeue" in Progress("h1", 0.0).stuck(odd)
        assert Progress("h1", 0.0).stuck({"total": 9, "to_look_at": 5, "requeued": 0})

    @pytest.mark.parametrize(("seconds", "shown"), [(45.2, "45 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
    def test_durations(self, seconds, shown):
        assert duration(seconds) == shown

    def test_every_source_and_every_reason_of_the_script_is_explained(self):
        import re

        assert set(explain.SOURCES) == set(options.SOURCES)
        returned = set(re.findall(r"nil, '(\w+)'", lua.MOVE)) | set(re.findall(r"return '(\w+)'", lua.MOVE))
        assert returned <= set(explain.REASONS)
        assert {"completed", "live_lease", "missing_parents"} <= returned

    def test_the_reading_script_cannot_write(self):
        for word in ("HSET", "ZREM", "RPUSH", "LPUSH", "PERSIST", "EXPIRE'", "DEL'"):
            assert f"call('{word.rstrip(chr(39))}'" not in lua.LOOK.replace("if moving then", "@").split("@")[0]

    def test_reports(self):
        info = {
            "lost": {"sources": {"failed": 2}, "queues": {"q": {"failed": 2}}, "by_exception": {"E": 2},
                     "left": {"stopped": 1}, "notes": {"stopped": "A person."}},
            "redis": {"host": "h", "port": 1}, "unrecoverable": ["x"], "suspended": {"ttl": None},
            "orphans": {"counts": {"queued": 3}},
        }  # fmt: skip
        said = "\n".join(report.lost(info))
        for word in (
            "2 jobs can be put back at h:1",
            "queue q: 2 failed",
            "stopped: A person.",
            "suspended",
            "3 queued",
            "x",
        ):
            assert word in said
        done = {"requeued": 2, "sources": {"failed": 2}, "notes": {"failed": "Again."}, "duration": 1, "rate": 2}
        assert report.done(done)[0] == "2 jobs were put back in 1.0 s (2 jobs/s): 2 failed."
        assert "would be put back" in report.done(done, check=True)[0]


@pytest.mark.parametrize(
    ("size", "took", "fits"),
    [
        (200, 3.0, 200),
        (200, 6.0, 100),
        (200, 60.0, 100),
        (30, 9.0, 25),
        (100, 1.0, 150),
        (180, 0.5, 200),
        (200, 0, 200),
    ],
)
def test_batches_are_fitted_to_the_stall_that_is_allowed(size, took, fits):
    assert fitting(size, took, 3.0, 200) == fits


class TestRecoverysReport:
    def test_held_put_back_left_and_gone(self):
        failed = {
            "requeued": 2, "sources": {"failed": 2}, "notes": {"failed": "Again.", "stopped": "A person."}, "rate": 2,
            "left": {"stopped": 12, "outside_window": 1500, "missing": 4},
            "left_jobs": [{"id": f"s{number}", "queue": "q", "reason": "stopped"} for number in range(12)],
            "unrecoverable": ["No trace."], "duration": 1,
        }  # fmt: skip
        taken = {"requeued": 0, "left": {}, "unrecoverable": ["No trace."]}
        found = report.recovered([{"held": 14, "gone": 3}, {"skipped": True}], [failed, taken, {"skipped": True}])
        assert found["lines"] == [
            "Held: 14 jobs that failed in this outage, so that none expires.",
            "Gone before that: 4 or more failed jobs, whose data had expired or was evicted.",
            "Requeued: 2 jobs were put back in 1.0 s (2 jobs/s): 2 failed.",
            "  failed: Again.",
            "Left alone: 12 stopped. A person.",
            "    s0 (q), s1 (q), s2 (q), s3 (q), s4 (q), s5 (q), s6 (q), s7 (q), s8 (q), s9 (q) and 2 more",
            "Left alone: 1,500 jobs lost before this outage, or nobody knows when.",
        ]
        assert found["gone"] == ["Permanently lost: No trace."]
        assert "hold_release=true" in found["todo"][0]

    def test_who_has_a_lease_is_at_work_where_every_host_has_named_its_dead(self):
        run = {"requeued": 0, "left": {"live_lease": 2}, "notes": {"live_lease": "Wait."}}
        assert report.recovered([], [run])["todo"]
        assert report.recovered([], [run], watched=True) == {"lines": [], "gone": [], "todo": []}
        run["left"]["completed"] = 1
        assert report.recovered([], [run], watched=True)["todo"]

    def test_an_outage_without_lost_jobs_is_not_talked_about(self):
        assert report.recovered([{"held": 0}], [{"requeued": 0, "left": {"outside_window": 0}}]) == {
            "lines": [],
            "gone": [],
            "todo": [],
        }
        assert report.recovered([], []) == {"lines": [], "gone": [], "todo": []}

    def test_a_hold_that_failed_is_said(self):
        assert report.recovered([{"msg": "No."}], [])["lines"] == ["Not held: No."]
        found = report.recovered([], [{"msg": "A split."}, {"msg": "A split."}, {"skipped": True, "msg": "when"}])
        assert found["lines"] == ["Not put back: A split."] and "Run recover.yml again" in found["todo"][0]
        assert report.left_in_window({"msg": "A split."}) == {}

    def test_all_that_was_held_is_back(self):
        run = {"requeued": 1, "sources": {"failed": 1}, "duration": 1}
        assert report.recovered([{"held": 1}], [run])["todo"] == []

    def test_hold_and_release(self):
        assert report.held({"held": 1200, "unchanged": 3, "gone": 2}) == [
            "1,200 jobs held: none expires until it is put back or released.",
            "  3 were kept already, or never expire",
            "  2 or more were gone before: their data had expired or was evicted",
        ]
        assert report.held({"released": 1}, check=True)[0].startswith("1 job would be released")


def test_B14_names_that_are_numbers_are_none() -> None:
    """Before: rq_info ended in `'int' object has no attribute 'startswith'` where a server named queues by numbers.

    Now: such names are no queues and no workers.
    """
    client = SimpleNamespace(smembers=lambda key: {1, None, b"rq:queue:b", b"rq:queue:a", b"other"})
    server: Any = SimpleNamespace(client=client, again=lambda ask: ask())
    assert known_queues(server, Keys("rq")) == [b"a", b"b"]
    assert names([2, b"b", 1.5, b"a", None]) == [b"a", b"b"]
