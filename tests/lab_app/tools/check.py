#!/opt/lab-app/venv/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Count, from outside of RQ, what became of every job that Redis acknowledged.

Prints {acknowledged, executed, lost, doubled, pending, failed} and the ids behind lost, doubled and failed. A job is
lost when it was acknowledged, left no trace of an execution, and Redis holds it neither to run nor as failed.
With --wait it looks again until nothing is pending, or for so long nothing more has run: how fast workers are says
nothing of a recovery. Exit status 2 when Redis does not answer.

Workers of any host run the jobs of all hosts. Where there are several, run `check.py --export` on each of the others,
and give the files with its output as --with on one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

QUEUE = "orchestrator"
PENDING = ("wip", "scheduled", "deferred")
SHOWN = 20


def acknowledged(text: str) -> set[str]:
    """Ids on the acknowledged list; a line that a power cut tore is none."""
    ids = set()
    for line in text.splitlines():
        try:
            ids.add(json.loads(line)["id"])
        except ValueError:
            continue
    return ids


def report(acked: set[str], names: Iterable[str], pending: set[str], failed: set[str]) -> dict[str, Any]:
    """The counts. ``names`` are those of the files that executions left."""
    runs = Counter(name.rpartition(".")[0] for name in names)
    executed = acked & set(runs)
    open_ids = acked - executed
    lost = open_ids - pending - failed
    doubled = {job for job, count in runs.items() if count > 1}
    return {
        "acknowledged": len(acked),
        "executed": len(executed),
        "lost": len(lost),
        "doubled": len(doubled),
        "pending": len(open_ids & pending),
        "failed": len(open_ids & failed - pending),
        "lost_ids": sorted(lost)[:SHOWN],
        "doubled_ids": sorted(doubled)[:SHOWN],
        "failed_ids": sorted(open_ids & failed - pending)[:SHOWN],
    }


def environment(text: str) -> Mapping[str, str]:
    """The variables of an EnvironmentFile."""
    lines = [line.partition("=") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {name: value.strip('"') for name, _, value in lines}


def traces(state: Path) -> dict[str, list[str]]:
    """What this host knows: ids that it acknowledged, and files that executions left here."""
    listed, executions = state / "acknowledged.jsonl", state / "executions"
    return {
        "acknowledged": sorted(acknowledged(listed.read_text(encoding="utf-8"))) if listed.exists() else [],
        "executions": sorted(path.name for path in executions.iterdir()) if executions.exists() else [],
    }


def look(state: Path, others: Iterable[Mapping[str, list[str]]], redis: Any) -> dict[str, Any]:
    """One look. Redis first: what it holds now may have run by the time the files are counted, but not the reverse."""
    pending = {job.decode() for job in redis.lrange(f"rq:queue:{QUEUE}", 0, -1)}
    pending |= {job.decode() for job in redis.lrange(f"rq:queue:{QUEUE}:intermediate", 0, -1)}
    for registry in PENDING:
        pending |= {job.decode().partition(":")[0] for job in redis.zrange(f"rq:{registry}:{QUEUE}", 0, -1)}
    failed = {job.decode() for job in redis.zrange(f"rq:failed:{QUEUE}", 0, -1)}
    hosts = [traces(state), *others]
    acked = {job for host in hosts for job in host["acknowledged"]}
    return report(acked, [name for host in hosts for name in host["executions"]], pending, failed)


def settled(
    seen: Callable[[], dict[str, Any]],
    wait: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The last of the looks: nothing is pending, or that has not become less for so many seconds."""
    least, since = math.inf, clock()
    while True:
        result = seen()
        pending = result.get("pending", math.inf)
        if pending < least:
            least, since = pending, clock()
        if not pending or clock() - since >= wait:
            return result
        pause(0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description="Count what became of every acknowledged job.")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/rq"))
    parser.add_argument("--environment", type=Path, default=Path("/etc/rq/redis.env"))
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for the next pending job")
    parser.add_argument("--export", action="store_true", help="print what this host knows, and nothing else")
    parser.add_argument("--with", dest="others", type=Path, action="append", default=[], help="export of another host")
    arguments = parser.parse_args()
    if arguments.export:
        print(json.dumps(traces(arguments.state)))
        return 0

    import redis as library

    others = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.others]
    url = environment(arguments.environment.read_text(encoding="utf-8"))["REDIS_URL"]
    client = library.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5)

    def seen() -> dict[str, Any]:
        try:
            return look(arguments.state, others, client)
        except (library.RedisError, OSError) as error:
            return {"error": type(error).__name__}

    result = settled(seen, arguments.wait)
    print(json.dumps(result))
    return 2 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main())
