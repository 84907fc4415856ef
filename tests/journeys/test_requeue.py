# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""requeue.yml and hold.yml over SSH, on all estates of a scenario at once: Redis and Valkey, one server or several."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import lost
import pytest
from lab import Run
from scene import Estate, Scene, side_by_side

JOBS = 240
WINDOW = ("-e", "requeue_queues=journey")


@pytest.fixture(scope="module", autouse=True)
def estates(scene: Scene) -> Iterator[list[Estate]]:
    """Each with the same failed jobs."""
    side_by_side(lambda estate: lost.clean(scene, estate), scene.estates)
    side_by_side(lambda estate: lost.tell(scene, estate, lost.many(JOBS)), scene.estates)
    yield scene.estates
    side_by_side(lambda estate: lost.forget(scene, estate, JOBS), scene.estates)


def play(scene: Scene, name: str, *options: str) -> Run:
    return scene.playbook(f"playbooks/{name}.yml", *WINDOW, *options, check=False)


def changes(run: Run) -> int:
    return sum(int(count) for count in re.findall(r"changed=(\d+)", run.output))


def counts(scene: Scene, estate: Estate) -> tuple[int, int, int]:
    """Jobs in the queue, in the failed registry, and the TTL of the last one."""
    commands = [["LLEN", "rq:queue:journey"], ["ZCARD", "rq:failed:journey"], ["TTL", f"rq:job:many{JOBS - 1:05d}"]]
    queued, failed, ttl = lost.tell(scene, estate, commands)
    return queued, failed, ttl


def all_counts(scene: Scene) -> list[tuple[int, int, int]]:
    return side_by_side(lambda estate: counts(scene, estate), scene.estates)


# The tests of this file are steps of one journey, in this order.


def test_it_shows_what_is_lost_and_changes_nothing(scene: Scene) -> None:
    run = play(scene, "requeue")
    assert (run.status, changes(run)) == (0, 0), run.output
    assert run.output.count(f"{JOBS} jobs can be put back") == len(scene.estates)
    assert run.output.count(f"queue journey: {JOBS} failed") == len(scene.estates)
    assert {queued for queued, _, _ in all_counts(scene)} == {0}


def test_a_hold_is_one_idempotent_step_and_can_be_undone(scene: Scene) -> None:
    check = play(scene, "hold", "--check")
    assert (check.status, changes(check)) == (0, len(scene.estates)), check.output
    assert {ttl > 0 for _, _, ttl in all_counts(scene)} == {True}
    held = play(scene, "hold")
    assert (held.status, changes(held)) == (0, len(scene.estates)), held.output
    assert held.output.count(f"{JOBS} jobs held") == len(scene.estates)
    assert all_counts(scene) == [(0, JOBS, -1)] * len(scene.estates)
    assert changes(play(scene, "hold")) == 0
    assert changes(play(scene, "hold", "-e", "hold_release=true")) == len(scene.estates)
    assert {0 < ttl <= lost.TTL for _, _, ttl in all_counts(scene)} == {True}
    assert changes(play(scene, "hold", "-e", "hold_release=true")) == 0


def test_check_mode_says_what_would_be_put_back(scene: Scene) -> None:
    run = play(scene, "requeue", "-e", "requeue_all_jobs=true", "--check", "--diff")
    assert (run.status, changes(run)) == (0, len(scene.estates)), run.output
    assert run.output.count(f"{JOBS} jobs would be put back") == len(scene.estates)
    assert {(queued, failed) for queued, failed, _ in all_counts(scene)} == {(0, JOBS)}


def test_a_wrong_password_and_a_host_without_network_stop_nobody_else(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory
) -> None:
    healthy, wrong = scene.estates[:2]
    # 192.0.2.0/24 is nobody's.
    gone = {"ansible_host": "192.0.2.9", "redis_estate": "gone", "ansible_ssh_common_args": "-o ConnectTimeout=1"}
    path = tmp_path_factory.mktemp("more") / "more.json"
    others = {host: {"redis_password_operator": "wrong-one"} for host in wrong.servers}
    path.write_text(json.dumps({"redis": {"hosts": {"gone1": gone, **others}}}))
    run = scene.playbook(
        "playbooks/requeue.yml", "-i", str(path), "--limit", ",".join([*healthy.servers, *wrong.servers, "gone1"]),
        *WINDOW, "-e", "requeue_all_jobs=true", "-e", "requeue_max_jobs=1", check=False,
    )  # fmt: skip
    assert run.status != 0
    plain = re.sub(r"\s+", " ", run.output)
    assert "More than max_jobs=1 jobs are selected" in plain, "the healthy one is looked at, and refuses too many"
    assert re.search(r"auth: .*Check login_user and login_password", plain), run.output
    assert "wrong-one" not in run.output
    assert re.search(r"gone1\]: UNREACHABLE!.*192\.0\.2\.9", plain), run.output
    assert {(queued, failed) for queued, failed, _ in all_counts(scene)} == {(0, JOBS)}


def test_a_long_run_says_how_far_it_is_and_a_second_one_changes_nothing(scene: Scene) -> None:
    run = play(scene, "requeue", "-e", "requeue_all_jobs=true", "-e", f"requeue_rate={JOBS // 6}")
    assert (run.status, changes(run)) == (0, len(scene.estates)), run.output
    for estate in scene.estates:
        said = re.findall(
            rf"rq_requeue on ({'|'.join(estate.servers)}): (\d+) of {JOBS} jobs \(\d+ %\), .* left", run.output
        )
        assert said, run.output
        assert 0 < int(said[0][1]) < JOBS
    first = run.output.index("rq_requeue on")
    assert first < run.output.index(f"{JOBS} jobs were put back"), "said while it worked, not at its end"
    assert all_counts(scene) == [(JOBS, 0, -1)] * len(scene.estates)
    again = play(scene, "requeue", "-e", "requeue_all_jobs=true")
    assert (again.status, changes(again)) == (0, 0), again.output
