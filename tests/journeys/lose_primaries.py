# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each estate of a scenario loses its primary: ``lose_primaries.py SCENARIO``.

With sentinels the primary's host loses its power; its sentinels elect another one, the host comes back and follows
that. Without, the server is killed, and systemd starts it again. Ends when all is well, having noted who is primary.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import wait_for
from scene import Estate, Scene, side_by_side

FAILOVER_SECONDS = 60


def lose(scene: Scene, estate: Estate) -> str:
    """The estate's primary after it."""
    (old,) = scene.primaries(estate)
    if not estate.sentinels:
        before = scene.on(old, "systemctl", "show", "--property=MainPID", "--value", estate.unit).strip()
        scene.on(old, "kill", "-9", before)
        wait_for(lambda: scene.primaries(estate) == [old], f"{old} is back", FAILOVER_SECONDS)
        after = scene.on(old, "systemctl", "show", "--property=MainPID", "--value", estate.unit).strip()
        assert before != after, f"{old} was not killed"
        return old
    rest = Estate(estate.name, estate.flavour, tuple(host for host in estate.servers if host != old), (), ())
    scene.cut_power(old)
    wait_for(lambda: scene.primaries(rest), f"a new primary of {estate}", FAILOVER_SECONDS)
    scene.power_on(old)

    def healed() -> str | None:
        views = {host: scene.info(estate, host) for host in estate.servers}
        primaries = [host for host, view in views.items() if view.get("role") == "master"]
        linked = [host for host, view in views.items() if view.get("master_link_status") == "up"]
        seen = {
            (
                scene.ask(estate, host, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", estate.name, user="observer", port=26379)
                or [""]
            )[0]
            for host in estate.sentinels
        }
        whole = len(primaries) == 1 and len(linked) == len(estate.servers) - 1
        return primaries[0] if whole and seen == {scene.addresses[primaries[0]]} else None

    return str(wait_for(healed, f"{estate} whole again", FAILOVER_SECONDS))


def main(scenario: str) -> None:
    """Lose them all at once, since estates have nothing to do with each other."""
    scene = Scene(scenario)
    primaries = side_by_side(lambda estate: lose(scene, estate), scene.estates)
    result = {estate.name: primary for estate, primary in zip(scene.estates, primaries, strict=True)}
    scene.primaries_file.write_text(json.dumps(result))
    print(result)


if __name__ == "__main__":
    main(sys.argv[1])
