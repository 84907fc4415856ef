# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""switchover.yml and failback.yml while an application is at work: no job lost or run twice, nobody left suspended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from lab import Run, wait_for
from load import Load
from scene import Estate, Scene

APP = "moveapp"
WEIGHT = """
import socket
with socket.socket(socket.AF_UNIX) as channel:
    channel.connect("/run/redis-endpoint/admin.sock")
    channel.sendall(b"get weight replicas/move2\\n")
    print(channel.recv(99))
"""


# What another host sends is dropped, before any table of the host's own sees it.
CUT = (
    "printf 'table inet journey {{ chain cut {{ type filter hook input priority -100; policy accept; "
    "ip saddr {address} drop\\n}}\\n}}\\n' | nft -f -"
)


@dataclass
class Story:
    """The runs, in their order, and who was primary after each."""

    runs: dict[str, Run] = field(default_factory=dict)
    primaries: dict[str, str] = field(default_factory=dict)
    suspended: dict[str, object] = field(default_factory=dict)
    counted: dict[str, object] = field(default_factory=dict)
    weight: str = ""
    url: str = ""
    cut_off_write: str = ""


def changed(run: Run) -> dict[str, int]:
    """The play recap's count of changes by host."""
    return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", run.output, re.M)}


@pytest.fixture(scope="module")
def estate(scene: Scene) -> Estate:
    (only,) = scene.estates
    return only


@pytest.fixture(scope="module")
def story(scene: Scene, estate: Estate) -> Iterator[Story]:
    told = Story()
    load = Load(scene, APP, seconds=600)
    load.start()

    def play(name: str, playbook: str, *options: str) -> None:
        told.runs[name] = scene.playbook(f"playbooks/{playbook}", *options, check=False)
        (told.primaries[name],) = scene.primaries(estate)
        told.suspended[name] = scene.ask(estate, told.primaries[name], "GET", "rq:suspended")

    to2 = ("-e", "redis_switchover_target=move2")
    try:
        play("plan", "switchover.yml", *to2, "--check")
        play("move", "switchover.yml", *to2)
        play("again", "switchover.yml", *to2)
        # The target hears nothing of the primary any more, and its link has not noticed yet.
        scene.on("move3", "sh", "-c", CUT.format(address=scene.addresses["move2"]))
        play("cut off", "switchover.yml", "-e", "redis_switchover_target=move3")
        told.cut_off_write = scene.ask(estate, "move2", "SET", "moved:proof", "1", "PX", "1000")
        scene.on("move3", "nft", "delete", "table", "inet", "journey")
        wait_for(lambda: scene.info(estate, "move3")["master_link_status"] == "up", "the link of move3", 60)
        play("early", "failback.yml")
        # A gate that nobody can pass, so that it is turned back.
        gate = ("-e", "failback_min_uptime=1", "-e", "failback_soak=1", "-e", "redis_switchover_most_error_percent=-1")
        play("turned back", "failback.yml", *gate)
        told.weight = scene.on(APP, "python3", "-c", WEIGHT)
        scene.ask(estate, told.primaries["turned back"], "SET", "rq:suspended", "1")
        play("suspended", "switchover.yml", "-e", "redis_switchover_target=move3", "-e", "redis_switchover_clients=url")
        told.url = re.sub(r"//.*@", "//", scene.on(APP, "grep", "^REDIS_URL", "/etc/rq/redis.env"))
        scene.ask(estate, told.primaries["suspended"], "DEL", "rq:suspended")
    finally:
        load.stop()
    told.counted = load.check()
    yield told


def test_the_plan_changes_nothing_and_says_the_pause(story: Story) -> None:
    run = story.runs["plan"]
    assert run.status == 0, run.why
    assert story.primaries["plan"] == "move1"
    assert "writers wait for about 500 ms" in run.output
    assert "SENTINEL FAILOVER move" in run.output


def test_the_primary_is_moved_once(story: Story) -> None:
    assert story.runs["move"].status == 0, story.runs["move"].why
    assert (story.primaries["move"], story.primaries["again"]) == ("move2", "move2")
    assert story.runs["again"].status == 0
    assert set(changed(story.runs["again"]).values()) == {0}, story.runs["again"].why


def test_a_partition_from_the_target_aborts_and_writes_go_on(story: Story) -> None:
    run = story.runs["cut off"]
    assert run.status != 0, run.why
    assert (story.primaries["cut off"], story.cut_off_write) == ("move2", "OK"), run.why


def test_a_failback_waits_for_a_healthy_period(story: Story) -> None:
    assert story.runs["early"].status != 0
    assert re.search(r"for \d+ s only, and 600 s are\s+asked for \(R10\)", story.runs["early"].output)
    assert story.primaries["early"] == "move2"
    assert set(changed(story.runs["early"]).values()) == {0}


def test_a_failed_gate_turns_back_and_says_what_it_saw(story: Story) -> None:
    output = " ".join(story.runs["turned back"].output.split())
    assert story.runs["turned back"].status != 0
    assert re.search(r"moveapp: 0 of \d+ tries failed .* It was moved back, and move2 is the primary again", output)
    assert story.primaries["turned back"] == "move2"
    assert "100" in story.weight


def test_nobody_is_left_suspended_and_a_suspension_of_before_is_kept(story: Story) -> None:
    assert story.runs["suspended"].status == 0, story.runs["suspended"].why
    assert story.suspended == {**dict.fromkeys(story.suspended, None), "suspended": "1"}


def test_a_fixed_url_points_at_the_new_primary(scene: Scene, story: Story) -> None:
    assert story.primaries["suspended"] == "move3"
    assert scene.addresses["move3"] in story.url


def test_no_job_is_lost_or_runs_twice(story: Story) -> None:
    assert int(str(story.counted["acknowledged"])) > 50
    assert (story.counted["lost"], story.counted["doubled"], story.counted["pending"]) == (0, 0, 0), story.counted


def test_everybody_follows_and_priorities_are_what_they_were(scene: Scene, estate: Estate, story: Story) -> None:
    (primary,) = scene.primaries(estate)
    for host in estate.servers:
        assert scene.ask(estate, host, "CONFIG", "GET", "replica-priority")[1] == "100", host
        if host != primary:
            view = scene.info(estate, host)
            assert (view["master_host"], view["master_link_status"]) == (scene.addresses[primary], "up"), host


def test_no_secret_shows_in_the_runs(scene: Scene, story: Story) -> None:
    shown = [who for who, secret in scene.passwords.items() for run in story.runs.values() if secret in run.output]
    assert shown == []
