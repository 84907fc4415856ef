# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""recover.yml on every estate of the scenario at once: the primary's process dead for good, the primary's host gone.

For each: the plan touches nothing, the run brings the estate back with what was written before, and a second one
changes nothing. With sentinels, without, and with a single server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional

import lost
import pytest
from hooks import TOKEN, Hooks, listening
from lab import Run, wait_for
from scene import Estate, Scene, side_by_side

MARK = "rq:journey:acknowledged"


@dataclass
class Story:
    """What was broken, and the runs after it."""

    fault: str
    old: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    hooks: Optional[Hooks] = None
    refused: Optional[Run] = None


def changed(run: Run) -> dict[str, int]:
    """The play recap's count of changes by host."""
    return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", run.output, re.M)}


def state(scene: Scene, host: str, unit: str) -> str:
    """Since when the unit is as it is; changes with every start."""
    return scene.on(host, "systemctl", "show", "--property=ActiveState,StateChangeTimestampMonotonic", unit)


@pytest.fixture(scope="module", params=["process", "host"])
def story(request: pytest.FixtureRequest, scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = Story(request.param)
    hit = [estate for estate in scene.estates if told.fault == "process" or len(estate.servers) > 1]
    if not hit:
        pytest.skip("no estate here has a second server")
    for estate in hit:
        (told.old[estate.name],) = scene.primaries(estate)
        scene.ask(estate, told.old[estate.name], "SET", MARK, told.fault)
        lost.clean(scene, estate)
        lost.tell(scene, estate, lost.commands())
        if len(estate.servers) > 1:
            acknowledged = scene.ask(estate, told.old[estate.name], "WAIT", str(len(estate.servers) - 1), "5000")
            assert acknowledged == len(estate.servers) - 1, estate

    def hurt(estate: Estate) -> None:
        if told.fault == "process":
            scene.kill_for_good(told.old[estate.name], estate.unit)
        else:
            scene.cut_power(told.old[estate.name])

    side_by_side(hurt, hit)
    dead = [(told.old[estate.name], estate.unit) for estate in hit] if told.fault == "process" else []
    before = [state(scene, host, unit) for host, unit in dead]
    # Where no sentinel says that a primary is gone, only a person can, as long as its host is silent.
    silent = [told.old[estate.name] for estate in hit if told.fault == "host" and not estate.sentinels]
    given_up = f"recover_accept_data_loss={','.join(silent)}"
    word = ("-e", given_up, "-e", "recover_accept_data_loss_bytes=-1") if silent else ()
    if silent:
        told.refused = scene.playbook("recover.yml", check=False)
    told.runs["plan"] = scene.playbook("recover.yml", "--check", *word, check=False)
    assert [state(scene, host, unit) for host, unit in dead] == before, "the plan started something"
    with listening(tmp_path_factory.mktemp("hooks")) as told.hooks:
        told.runs["recovery"] = scene.playbook(
            "recover.yml", "-e", "redis_recovery_requeue_grace=3", *word, *told.hooks.options, check=False
        )
    if told.fault == "host":
        side_by_side(lambda estate: scene.power_on(told.old[estate.name]), hit)
        for estate in hit:
            wait_for(lambda e=estate: scene.info(e, told.old[e.name]), f"{estate}'s old primary answering", 60)
        told.runs["rejoin"] = scene.playbook("recover.yml", check=False)
    told.runs["again"] = scene.playbook("recover.yml", check=False)
    yield told


def test_every_run_ends_well(story: Story) -> None:
    ended = {name: run.status for name, run in story.runs.items()}
    assert set(ended.values()) == {0}, "\n".join(run.why for run in story.runs.values() if run.status)


def test_a_silent_primary_without_sentinels_takes_a_persons_word(story: Story) -> None:
    if story.refused is None:
        pytest.skip("sentinels decide here, or the primary's own host shows that it is dead")
    assert story.refused.status == 2 and set(changed(story.refused).values()) == {0}
    assert "recover_accept_data_loss=" in story.refused.output


def test_the_plan_changes_nothing(story: Story) -> None:
    assert set(changed(story.runs["plan"]).values()) == {0}


def test_the_plan_says_what_is_wrong(story: Story) -> None:
    said = story.runs["plan"].output + story.runs["recovery"].output
    for old in story.old.values():
        assert f"({old})" in said, old


def test_a_second_run_changes_nothing(story: Story) -> None:
    assert set(changed(story.runs["again"]).values()) == {0}, story.runs["again"].output


def test_nothing_acknowledged_is_lost_and_everybody_follows(scene: Scene, estate: Estate, story: Story) -> None:
    if estate.name not in story.old:
        pytest.skip("it has no second server")
    (primary,) = scene.primaries(estate)
    assert scene.ask(estate, primary, "GET", MARK) == story.fault
    for host in set(estate.servers) - {primary}:
        view = scene.info(estate, host)
        assert (view["master_host"], view["master_link_status"]) == (scene.addresses[primary], "up"), host


def test_a_lone_primary_comes_back_from_its_own_data(scene: Scene, estate: Estate, story: Story) -> None:
    if len(estate.servers) > 1 or story.fault != "process":
        pytest.skip("it has replicas, or was not killed")
    assert scene.primaries(estate) == [story.old[estate.name]]


def test_jobs_that_the_outage_lost_are_back_and_the_others_are_held(scene: Scene, estate: Estate, story: Story) -> None:
    if estate.name not in story.old:
        pytest.skip("it was not hit")
    jobs = lost.where(scene, estate)
    back = {name for name, (*_, why) in lost.FAILED.items() if not why} | {lost.TAKEN}
    assert (set(jobs["queued"]), len(jobs["queued"])) == (back, len(back))
    assert set(jobs["failed"]) == (set(lost.FAILED) | {"gone"}) - back
    assert {jobs["status"][name] for name in back} == {"queued"}
    assert {jobs["ttl"][name] for name in {*lost.FAILED, lost.TAKEN} - {"early"}} == {-1}, "put back or held"
    assert 0 < jobs["ttl"]["early"] <= lost.TTL, "no business of this outage"


def test_the_report_says_what_was_left_and_why(story: Story) -> None:
    said = story.runs["recovery"].output
    hit = len(story.old)
    for why in {why for *_, why in lost.FAILED.values()} - {"", "outside_window"}:
        assert said.count(f"Left alone: 1 {why}. ") == hit, why
    for words in (
        "Left alone: 1 job lost before",
        "Held: 5 jobs",
        "Gone before that: 1 ",
        "Permanently lost: ",
    ):
        assert said.count(words) >= hit, words
    assert said.count("Requeued: 1 job was put back") == 2 * hit, "the failed one, and the one that was taken"


def test_an_operators_own_steps_run_before_and_after_and_the_web_hook_is_told_once(story: Story) -> None:
    assert story.hooks
    before, after = story.hooks.told("before"), story.hooks.told("after")
    # Sentinel may have dealt with a host that is gone before anybody looked: then there is no step, and no hook.
    assert set(before) == set(after) <= set(story.old)
    assert set(before) == set(story.old) or story.fault == "host"
    assert {state["verdict"] for state in before.values()} <= {"act"}
    assert {state["verdict"] for state in after.values()} <= {"healthy", "degraded"}
    posted = {state["estate"]: state for state in story.hooks.posted}
    assert (posted, len(story.hooks.posted)) == (after, len(after))
    assert all(state["findings"] for state in posted.values())
    assert not [name for name, run in story.runs.items() if TOKEN in run.output]


def test_no_secret_shows_in_the_runs(scene: Scene, story: Story) -> None:
    shown = [who for who, secret in scene.passwords.items() for run in story.runs.values() if secret in run.output]
    assert shown == []
