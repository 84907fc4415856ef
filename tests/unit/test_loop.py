# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run of recover.yml: what follows from what its hosts have noted so far."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from lifeline.loop import Recovery, names, truth

STARTED, NOW = 1000.0, 1100.0
NODES = [{"name": f"r{number}", "host": f"10.0.0.{number}", "port": 6379} for number in (1, 2, 3)]


def action(remedy: str, host: str = "r2") -> dict[str, Any]:
    return {"remedy": remedy, "host": host, "why": "why"}


def step(remedy: str, host: str = "r2", began: float = 1010.0, failed: str = "") -> dict[str, Any]:
    return {**action(remedy, host), "began": str(began), "ended": str(began + 5), "failed": failed}


def look(*actions: dict[str, Any], primary: Optional[str] = "r2", verdict: str = "act", **more: Any) -> dict[str, Any]:
    plan = {
        "verdict": verdict, "actions": list(actions), "findings": [], "refusal": "", "summary": "a summary", "todo": [],
        "unhelped": [],
    }  # fmt: skip
    found = {"plan": plan, "primary": {"name": primary} if primary else None, "findings": [], "outage_began": None}
    return {**found, "topology": {}, **more}


def run(
    noted: Optional[dict[str, dict[str, Any]]] = None,
    host: str = "r1",
    last: Optional[dict[str, Any]] = None,
    **given: Any,
) -> Recovery:
    """An estate of three servers, sentinels beside them, and two application hosts; ``noted`` by host and name."""
    variables = {
        "__redis_servers": ["r1", "r2", "r3"],
        "__redis_sentinels": ["r1", "r2", "r3"],
        "__redis_applications": ["a1", "a2"],
        "__redis_nodes": NODES,
        "ansible_play_hosts": ["a1", "a2", "r1", "r2", "r3"],
        "ansible_check_mode": False,
        "redis_estate": "shop",
        "redis_recovery_prove": True,
        "redis_recovery_hold": True,
        "redis_recovery_requeue_window": 900,
        **given,
    }
    own = {"__redis_recovery_started": STARTED, "__redis_recovery_run": "here-1000.0"}
    looks = {} if last is None else {"__redis_recovery_now": last, "__redis_recovery_first": last}
    notes: dict[str, dict[str, Any]] = {name: dict(values) for name, values in (noted or {}).items()}
    notes[host] = {**own, **looks, **notes.get(host, {})}
    return Recovery(host, variables.get, lambda name, key: notes.get(name, {}).get(key), NOW, "here")


class TestWhoTakesPart:
    @pytest.mark.parametrize(
        ("playing", "primary", "speaker", "agent", "provers"),
        [
            (["a1", "a2", "r1", "r2", "r3"], "r2", "r1", "r2", ["a1", "a2", "r2"]),
            (["a2", "r2", "r3"], "r1", "r2", "r2", ["a2", "r2"]),  # the primary's host has left the play
            (["r3"], None, "r3", "r3", ["r3"]),
            (["a1"], None, "a1", "a1", ["a1", "a1"]),
            ([], None, "", "", [""]),
        ],
    )
    def test_who_speaks_who_sees_to_jobs_and_who_proves(
        self, playing: list[str], primary: Optional[str], speaker: str, agent: str, provers: list[str]
    ) -> None:
        told = run(last=look(primary=primary), ansible_play_hosts=playing)
        assert (told.reporting_host, told.job_host, told.probe_hosts) == (speaker, agent, provers)

    def test_a_run_is_named_by_its_control_node_and_its_beginning(self) -> None:
        assert run({"r1": {"__redis_recovery_started": 5.5}}, host="r2").name == "here-5.5"

    def test_the_target_has_the_inventorys_address(self) -> None:
        assert run(last=look(primary="r3")).target == NODES[2]
        assert run(last=look(primary="stranger")).target == {}
        assert run(last=look(primary=None)).target == run().target == {}


class TestWords:
    @pytest.mark.parametrize(
        ("given", "found"),
        [(None, []), ("", []), ("r1", ["r1"]), (" r1, r2 ,", ["r1", "r2"]), (["r1", "r2"], ["r1", "r2"]), ([], [])],
    )
    def test_names_as_they_are_typed(self, given: Any, found: list[str]) -> None:
        assert names(given) == found
        told = run(recover_accept_data_loss=given, recover_steps=given)
        assert (told.accepted, told.agreed) == (found, found)

    @pytest.mark.parametrize(
        ("given", "found"),
        [
            (True, True),
            (False, False),
            ("false", False),
            ("no", False),
            ("yes", True),
            ("True", True),
            (1, True),
            (None, False),
        ],
    )
    def test_a_truth_as_it_is_typed(self, given: Any, found: bool) -> None:
        assert truth(given) is found

    @pytest.mark.parametrize(
        ("refusal", "said"),
        [
            ("Nobody answers.", "Nobody answers. Nothing was changed."),
            ("Nobody answers. Nothing was changed.", "Nobody answers. Nothing was changed."),
            ("Nobody answers, and nothing was changed.", "Nobody answers, and nothing was changed."),
        ],
    )
    def test_a_refusal_says_that_nothing_was_changed(self, refusal: str, said: str) -> None:
        last = look(verdict="refused")
        last["plan"]["refusal"] = refusal
        assert run(last=last).refusal == said


class TestThePlan:
    @pytest.mark.parametrize(
        ("primary", "remedies", "urgent"),
        [
            (None, [], True),
            ("r2", [], False),
            ("r2", ["follow", "relink", "start_sentinel", "repoint_sentinel"], False),
            ("r2", ["follow", "failover"], True),
            ("r2", ["start_endpoint"], True),
            ("r2", ["configure_server"], True),
            ("r2", ["nobody_knows_it"], True),
        ],
    )
    def test_what_applications_wait_for_is_urgent(
        self, primary: Optional[str], remedies: list[str], urgent: bool
    ) -> None:
        assert run(last=look(*map(action, remedies), primary=primary)).urgent is urgent

    def test_what_was_planned_is_not_planned_again(self) -> None:
        told = run({"r1": {"__redis_recovery_tried": ["failover@r2"]}}, last=look(action("follow", "r1")))
        assert told.tried == ["failover@r2", "follow@r1"]
        assert run().tried == []

    @pytest.mark.parametrize(
        ("log", "awaited"),
        [
            ([], ["follow"]),
            ([step("follow")], ["follow"]),
            ([step("follow", failed="no")], []),
            ([step("follow", failed="no"), step("follow")], ["follow"]),
            ([step("relink", failed="no")], ["follow"]),
        ],
    )
    def test_a_server_whose_step_failed_is_not_waited_for(self, log: list[dict[str, Any]], awaited: list[str]) -> None:
        last = look(action("follow", "r1"), action("relink", "r1"), action("follow", "r3"))
        told = run({"r1": {"__redis_recovery_step_log": log}}, last=last)
        assert [found["remedy"] for found in told.awaited] == awaited
        assert {found["host"] for found in told.mine} == {"r1"}


class TestWhatWasDone:
    def test_steps_are_told_in_their_order(self) -> None:
        logs = {
            "r3": {"__redis_recovery_step_log": [step("follow", "r3", 1030.0)]},
            "r2": {"__redis_recovery_step_log": [step("failover", "r2", 1010.0)]},
        }
        assert [found["host"] for found in run(logs).taken] == ["r2", "r3"]

    @pytest.mark.parametrize(("began", "fresh"), [(None, 60.0), (1000.0, 60.0), (1090.0, 5.0)])
    def test_what_was_refused_before_the_last_step_is_stale(self, began: Optional[float], fresh: float) -> None:
        log = [] if began is None else [step("follow", began=began)]
        assert run({"r2": {"__redis_recovery_step_log": log}}).fresh == fresh

    @pytest.mark.parametrize(
        ("host", "noted", "did"),
        [
            ("r1", {}, False),
            ("r2", {"__redis_recovery_step_log": [step("follow")]}, True),
            ("a1", {"__rq_services_result": {"restarted": ["rq.service"]}}, True),
            ("a1", {"__rq_services_result": {"restarted": []}}, False),
            ("r2", {"__redis_recovery_requeued": {"changed": True}}, True),
            ("r2", {"__redis_recovery_requeued_taken": {"changed": True}}, True),
            ("r2", {"__redis_recovery_requeued": {"changed": False, "skipped": True}}, False),
            ("r2", {"__redis_recovery_held": {"changed": True}}, False),
        ],
    )
    def test_whether_it_did_anything(self, host: str, noted: dict[str, Any], did: bool) -> None:
        assert run({host: noted}, last=look()).did is did


class TestJobs:
    @pytest.mark.parametrize(
        ("began", "unfinished", "start"),
        [(None, 0, 100.0), (950.0, 0, 950.0), (None, 800.0, -100.0), (950.0, 800.0, -100.0), (-500.0, 800.0, -500.0)],
    )
    def test_from_when_on_jobs_are_of_this_outage(
        self, began: Optional[float], unfinished: float, start: float
    ) -> None:
        told = run({"r3": {"__redis_lock": {"unfinished": unfinished}}}, last=look(outage_began=began))
        assert told.window_start == start

    def test_the_oldest_run_that_did_not_finish_counts(self) -> None:
        told = {"r1": {"unfinished": 0}, "r2": {"unfinished": 900.0}, "a1": {"unfinished": 800.0}, "r3": {}}
        locks = {host: {"__redis_lock": lock} for host, lock in told.items()}
        assert run(locks).unfinished == 800.0

    @pytest.mark.parametrize(
        ("verdict", "finding", "unfinished", "outage"),
        [
            ("act", None, 0, True),
            ("healthy", None, 0, False),
            ("refused", None, 0, False),
            ("healthy", None, 5, True),
            ("healthy", ("process", "warning"), 0, True),
            ("healthy", ("data", "critical"), 0, True),
            ("healthy", ("process", "info"), 0, False),
            ("degraded", ("network", "critical"), 0, False),
        ],
    )
    def test_whether_jobs_may_have_been_lost(
        self, verdict: str, finding: Optional[tuple[str, str]], unfinished: float, outage: bool
    ) -> None:
        last = look(verdict=verdict)
        if finding:
            last["plan"]["findings"] = [{"family": finding[0], "severity": finding[1], "id": "x", "where": "r1"}]
        assert run({"r2": {"__redis_lock": {"unfinished": unfinished}}}, last=last).outage is outage

    @pytest.mark.parametrize(
        ("given", "noted", "last", "hold"),
        [
            ({}, {}, look(), True),
            ({"redis_recovery_hold": False}, {}, look(), False),
            ({"redis_recovery_hold": "false"}, {}, look(), False),
            ({"ansible_check_mode": True}, {}, look(), False),
            ({}, {}, look(primary=None), False),
            ({}, {}, look(verdict="healthy"), False),
            ({}, {"__redis_recovery_held": {"held": 0}}, look(), False),  # once in a run
            ({}, {"__redis_recovery_held": {"skipped": True}}, look(), True),
        ],
    )
    def test_jobs_are_held_once_as_soon_as_there_is_a_primary(
        self, given: dict[str, Any], noted: dict[str, Any], last: dict[str, Any], hold: bool
    ) -> None:
        assert run({"r2": noted}, last=last, **given).hold_now is hold

    @pytest.mark.parametrize(
        ("told", "watched"),
        [
            ({}, False),
            ({"a1": {"gone_workers": []}}, False),
            ({"a1": {"gone_workers": []}, "a2": {"skipped": True}}, False),
            ({"a1": {"gone_workers": []}, "a2": {"gone_workers": ["w"]}}, True),
        ],
    )
    def test_leases_are_believed_where_every_host_has_told_of_its_workers(
        self, told: dict[str, dict[str, Any]], watched: bool
    ) -> None:
        noted = {host: {"__rq_services_result": result} for host, result in told.items()}
        assert run(noted).watched is watched
        assert run(noted, __redis_applications=[]).watched is False

    def test_dead_workers_are_bound_to_their_hosts(self) -> None:
        noted = {"a1": {"__rq_services_result": {"hostname": "one", "gone_workers": ["w"]}}}
        assert run(noted).dead_workers == [{"name": "w", "hostname": "one"}]


class TestTheEnd:
    @pytest.mark.parametrize(
        ("noted", "broken_off"),
        [
            ({}, True),
            ({"__redis_recovery_finished": False}, True),
            ({"__redis_recovery_finished": True}, False),
            ({"__redis_recovery_finished": True, "__redis_recovery_requeued": {"requeued": 0}}, False),
            ({"__redis_recovery_finished": True, "__redis_recovery_requeued": {"skipped": True}}, False),
            ({"__redis_recovery_finished": True, "__redis_recovery_requeued": {"msg": "no"}}, True),
            ({"__redis_recovery_finished": True, "__redis_recovery_requeued_taken": {"msg": "no"}}, True),
        ],
    )
    def test_a_run_that_left_something_is_broken_off(self, noted: dict[str, Any], broken_off: bool) -> None:
        assert run({"r1": noted}).broken_off is broken_off

    @pytest.mark.parametrize(
        ("proofs", "through", "at"),
        [
            ({}, "", 0.0),
            ({"r2": {"address": "10.0.0.2:6379", "written_at": 1050.0}}, "10.0.0.2:6379", 1050.0),
            ({"r2": {"skipped": True}}, "", 0.0),
            (
                {
                    "r2": {"address": "10.0.0.2:6379", "written_at": 1050.0},
                    "a1": {"address": "127.0.0.1:6379", "written_at": 1051.0},
                },
                "127.0.0.1:6379",  # as the applications write comes first
                1050.0,
            ),
        ],
    )
    def test_a_proof_is_a_write_that_was_taken(
        self, proofs: dict[str, dict[str, Any]], through: str, at: float
    ) -> None:
        told = run({host: {"__redis_recovery_canary": proof} for host, proof in proofs.items()})
        assert (told.write_through, told.proven_at) == (through, at)

    @pytest.mark.parametrize(
        ("verdict", "proof", "prove", "ending", "good"),
        [
            ("healthy", True, True, "healthy", True),
            ("healthy", False, True, "not proven", False),
            ("healthy", False, False, "not asked to prove", True),
            ("healthy", False, "false", "not asked to prove", True),
            ("refused", True, True, "not back", False),
        ],
    )
    def test_how_it_ends(self, verdict: str, proof: bool, prove: Any, ending: str, good: bool) -> None:
        proofs = {"a1": {"__redis_recovery_canary": {"address": "x:1", "written_at": 1.0}}} if proof else {}
        told = run(proofs, last=look(verdict=verdict), redis_recovery_prove=prove)
        assert (told.verdict["ending"], told.good_end) == (ending, good)

    def test_the_terminal_shows_where_the_record_is(self) -> None:
        last = look(verdict="healthy")
        lone = run(last=last)
        assert lone.told == lone.outcome and lone.outcome[0].startswith("Estate shop: NOT proven")
        told = run({"r1": {"__redis_recovery_record": {"files": ["/x/incident.html", "/x/y"]}}}, last=last)
        assert told.told == [*lone.outcome, "Record: /x/incident.html"]

    def test_what_tasks_and_web_hooks_of_the_users_are_told(self) -> None:
        last = look(verdict="healthy", findings=[{"id": "process_dead", "where": "r1"}])
        told = run({"r2": {"__redis_recovery_step_log": [step("failover")]}}, last=last)
        assert told.state == {
            "estate": "shop", "run": "here-1000.0", "verdict": "healthy", "summary": "a summary",
            "primary": {"name": "r2"}, "findings": ["process_dead@r1"], "steps": ["failover@r2"], "record": "",
        }  # fmt: skip

    @pytest.mark.parametrize(("answer", "said"), [({}, "nothing"), ({"status": 500}, "500"), ({"status": -1}, "-1")])
    def test_that_nobody_could_be_told_is_said(self, answer: dict[str, Any], said: str) -> None:
        told = run({"r1": {"__redis_recovery_announced": answer}}, redis_recovery_tasks_after="mine.yml")
        assert told.not_announced == f"The web hook answered {said}; the recovery stands as it is."
        assert told.tasks_failed == "Your tasks mine.yml failed; the recovery stands as it is."
