# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings that count at the start only: every server restarts in its turn, the primary last, and nothing is lost.

Sentinels too restart in turn, to listen on other addresses.
"""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from lab import Run
from scene import Estate, Scene, side_by_side
from test_recovery import changed

MARK, VALUE = "rq:journey:restart", "kept"
DATABASES = 17
ADDRESSES = ["{{ redis_address }}", "127.0.0.1"]
OPTIONS = ("-e", json.dumps({"redis_server_databases": DATABASES, "redis_sentinel_bind": ADDRESSES}))


def started(scene: Scene, estate: Estate, host: str) -> tuple[int, int]:
    """When the server's process was started and ready, in microseconds of the one clock that all hosts share."""
    said = scene.on(
        host,
        "systemctl",
        "show",
        "--property=ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic",
        estate.unit,
    )
    values = dict(line.split("=", 1) for line in said.split())
    return int(values["ExecMainStartTimestampMonotonic"]), int(values["ActiveEnterTimestampMonotonic"])


@pytest.fixture(scope="module")
def before(scene: Scene) -> dict[str, tuple[str, dict[str, tuple[int, int]]]]:
    """By estate: its primary, which holds a value, and when each server was started."""

    def look(estate: Estate) -> tuple[str, dict[str, tuple[int, int]]]:
        (primary,) = scene.primaries(estate)
        assert scene.ask(estate, primary, "SET", MARK, VALUE) == "OK"
        return primary, {host: started(scene, estate, host) for host in estate.servers}

    return dict(zip((estate.name for estate in scene.estates), side_by_side(look, scene.estates), strict=True))


@pytest.fixture(scope="module")
def runs(scene: Scene, before: object) -> list[Run]:
    """One that changes the setting, and the same again."""
    return [scene.playbook("playbooks/provision.yml", *OPTIONS, check=False) for _ in range(2)]


def test_both_runs_end_well_and_the_second_changes_nothing(runs: list[Run]) -> None:
    assert [run.status for run in runs] == [0, 0], runs[0].why
    assert set(changed(runs[1]).values()) == {0}


def test_every_server_was_restarted_once_in_turn_the_primary_last(
    scene: Scene, estate: Estate, before: dict[str, tuple[str, dict[str, tuple[int, int]]]], runs: list[Run]
) -> None:
    old_primary, old = before[estate.name]
    now = {host: started(scene, estate, host) for host in estate.servers}
    for host in estate.servers:
        assert now[host][0] > old[host][0], f"{host} was not restarted"
        assert scene.ask(estate, host, "CONFIG", "GET", "databases") == ["databases", str(DATABASES)], host
    order = sorted(estate.servers, key=lambda host: now[host][0])
    assert order[-1] == old_primary
    for earlier, later in pairwise(order):
        assert now[earlier][1] < now[later][0], f"{later} began before {earlier} was ready"


def test_the_primary_is_where_it_was_with_all_it_had(
    scene: Scene, estate: Estate, before: dict[str, tuple[str, dict[str, tuple[int, int]]]], runs: list[Run]
) -> None:
    primary, _times = before[estate.name]
    assert scene.primaries(estate) == [primary]
    assert scene.ask(estate, primary, "GET", MARK) == VALUE
    for host in set(estate.servers) - {primary}:
        assert scene.info(estate, host)["master_link_status"] == "up", host


def test_sentinels_listen_where_they_should_and_agree(scene: Scene, estate: Estate, runs: list[Run]) -> None:
    if not estate.sentinels:
        pytest.skip("the estate has no sentinels")
    (primary,) = scene.primaries(estate)
    for host in estate.sentinels:
        said = scene.on(host, "grep", "^bind ", f"/etc/{estate.flavour}/sentinel.conf")
        assert said.split() == ["bind", scene.addresses[host], "127.0.0.1"], host
        listening = scene.on(host, "ss", "--listening", "--tcp", "--numeric", "--no-header", "sport = 26379")
        assert sorted(line.split()[3].rpartition(":")[0] for line in listening.splitlines()) == sorted(
            [scene.addresses[host], "127.0.0.1"]
        ), host
        state = scene.ask(estate, host, "SENTINEL", "MASTER", estate.name, user="observer", port=26379)
        fields = dict(zip(state[::2], state[1::2], strict=True))
        assert (fields["ip"], fields["flags"]) == (scene.addresses[primary], "master"), host
        assert int(fields["num-other-sentinels"]) == len(estate.sentinels) - 1, host
