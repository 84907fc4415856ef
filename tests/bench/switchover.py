#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a switchover costs the applications: ``playbooks/switchover.yml`` many times, then a bare SENTINEL FAILOVER.

Two writers on the application host, one through Sentinel and one through the endpoint, and the lab's RQ application,
remember what was acknowledged. Prints progress on stderr and one line of JSON:

``pause_p50_ms``, ``pause_max_ms``: longest time without an acknowledged write in each switchover, as the writer that
knows Sentinel saw it; ``endpoint_pause_*``: through the endpoint; ``held_*``: the pause as redis_failover reports it.
``lost`` writes, ``jobs_lost``, ``doubled`` jobs and ``full_resyncs`` of all switchovers; ``bare_*``: the same of the
bare command; ``unplanned_*_s``: from the death of the primary to a write accepted by the next one; ``server``: what
the servers are. ``--hosts`` names a file of variables for playbooks/lab.yml: hosts of the same names, but of another
release or flavour.
"""

from __future__ import annotations

import argparse
import atexit
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lab import ROOT, Lab, versions, wait_for
from live_estates import estate, options
from load import PYTHON, Load
from modules import Modules
from servers import Servers

APP = "app1"
SERVERS = ("redis1", "redis2", "redis3")
WAYS = ("sentinel", "endpoint")
TOOL = "/usr/local/bin/write.py"
DOWN_AFTER_MS = 5000
# After this the sentinels have demoted a former primary (measured: 11 s), and its writers have noticed.
BARE_SECONDS = 20


class Writers:
    """The two writers on the application host."""

    def __init__(self, lab: Lab, seconds: float) -> None:
        self.lab = lab
        lab.podman("cp", str(ROOT / "tests/lab_app/tools/write.py"), f"{lab.container(APP)}:{TOOL}")
        self._processes = [
            subprocess.Popen(
                ["podman", "exec", lab.container(APP), "sh", "-c", self._command(way, f"--seconds={seconds}")],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for way in WAYS
        ]
        atexit.register(self.end)
        for way in WAYS:
            wait_for(lambda w=way: len(self.moments(w)) > 20, f"the writer through the {way}", 30)

    def _command(self, way: str, *more: str) -> str:
        sentinels = ",".join(f"{self.lab.addresses[name]}:26379" for name in SERVERS)
        words = [PYTHON, TOOL, f"--via={way}", f"--sentinels={sentinels}", f"--output=/tmp/write-{way}.txt", *more]
        return f"set -a; . /etc/rq/redis.env; exec {' '.join(words)}"

    def moments(self, way: str) -> list[float]:
        """When writes were acknowledged, in seconds since 1970."""
        text = self.lab.on(APP, "cat", f"/tmp/write-{way}.txt", check=False)
        return [float(line.split()[1]) for line in text.splitlines() if line.count(" ") == 1 and len(line) > 17]

    def gap_ms(self, way: str, since: float) -> float:
        """The longest time without an acknowledgement since a moment."""
        moments = [moment for moment in self.moments(way) if moment >= since]
        return max((after - before for before, after in pairwise(moments)), default=0.0) * 1000

    def end(self) -> None:
        """No more writes, however the benchmark ends."""
        self.lab.on(APP, "pkill", "-f", TOOL, check=False)

    def stop(self, since: float = 0.0) -> dict[str, dict[str, int]]:
        """No more writes; what became of those acknowledged since a moment, by way."""
        self.end()
        for process in self._processes:
            process.wait(30)
        return {
            way: json.loads(self.lab.on(APP, "sh", "-c", self._command(way, "--check", f"--since={since}")))
            for way in WAYS
        }


def switch(lab: Lab, target: str) -> dict[str, int]:
    """One run of the playbook: ``{pause_ms, full_resyncs, partial_resyncs}`` as the module said."""
    run = lab.playbook("playbooks/switchover.yml", "-e", f"redis_switchover_target={target}", "-v")
    return {
        name: int(re.findall(rf"^\s+{name}: (\d+)", run.output, flags=re.MULTILINE)[-1])
        for name in ("pause_ms", "full_resyncs", "partial_resyncs")
    }


def planned(lab: Lab, runs: int) -> dict[str, Any]:
    """Many switchovers under load."""
    load = Load(lab, seconds=runs * 90.0)
    atexit.register(load.stop)
    load.start()
    writers = Writers(lab, runs * 90.0)
    gaps: dict[str, list[float]] = {way: [] for way in WAYS}
    said: list[dict[str, int]] = []
    for number in range(1, runs + 1):
        primary = lab.primary()
        target = SERVERS[(SERVERS.index(primary) + 1) % len(SERVERS)]
        since = time.time()
        said.append(switch(lab, target))
        for way in WAYS:
            gaps[way].append(writers.gap_ms(way, since))
        print(f"{number}: {target}, {said[-1]}, " + str({w: round(g[-1]) for w, g in gaps.items()}), file=sys.stderr)
    written = writers.stop()
    load.stop()
    jobs = load.check()
    print(f"{written} {jobs}", file=sys.stderr)
    held = [one["pause_ms"] for one in said]
    return {
        "pause_p50_ms": round(statistics.median(gaps["sentinel"])),
        "pause_max_ms": round(max(gaps["sentinel"])),
        "endpoint_pause_p50_ms": round(statistics.median(gaps["endpoint"])),
        "endpoint_pause_max_ms": round(max(gaps["endpoint"])),
        "held_p50_ms": round(statistics.median(held)),
        "held_max_ms": max(held),
        "switchovers": runs,
        "writes": sum(one["acknowledged"] for one in written.values()),
        "lost": sum(one["lost"] for one in written.values()),
        "jobs": jobs["acknowledged"],
        "jobs_lost": jobs["lost"],
        "doubled": jobs["doubled"],
        "full_resyncs": sum(one["full_resyncs"] for one in said),
        "partial_resyncs": sum(one["partial_resyncs"] for one in said),
    }


def full_syncs(lab: Lab) -> int:
    """Full resynchronizations that the servers have served since they started."""
    infos = [lab.redis(name, "INFO", "stats") for name in SERVERS]
    return sum(int(found) for info in infos for found in re.findall(r"^sync_full:(\d+)", info, flags=re.MULTILINE))


def bare(lab: Lab) -> dict[str, Any]:
    """What the usual command does: SENTINEL FAILOVER and nothing else."""
    load = Load(lab, seconds=300.0)
    atexit.register(load.stop)
    load.start()
    writers = Writers(lab, 300.0)
    before, primary, since = full_syncs(lab), lab.primary(), time.time()
    print(f"bare SENTINEL FAILOVER: {lab.redis(primary, 'SENTINEL', 'FAILOVER', 'redis', port=26379)}", file=sys.stderr)
    wait_for(lambda: lab.primary() != primary, "another primary", 60)
    wait_for(lambda: time.time() > since + BARE_SECONDS, "the end of the time that is counted", BARE_SECONDS * 2)
    wait_for(lambda: len(lab.primaries()) == 1, "one primary", 60)
    gaps = {way: writers.gap_ms(way, since) for way in WAYS}
    written = writers.stop(since)
    load.stop()
    jobs = load.check()
    print(f"bare: {written} {jobs}", file=sys.stderr)
    acknowledged = {way: one["acknowledged"] for way, one in written.items()}
    lost = {way: one["lost"] for way, one in written.items()}
    return {
        "bare_lost": lost["sentinel"] + lost["endpoint"],
        "bare_lost_percent": round(100 * lost["sentinel"] / max(1, acknowledged["sentinel"]), 1),
        "bare_endpoint_lost_percent": round(100 * lost["endpoint"] / max(1, acknowledged["endpoint"]), 1),
        "bare_seconds_counted": BARE_SECONDS,
        "bare_jobs_lost": jobs["lost"],
        "bare_doubled": jobs["doubled"],
        "bare_full_resyncs": full_syncs(lab) - before,
        "bare_pause_ms": round(gaps["sentinel"]),
    }


def server(lab: Lab) -> str:
    """Flavour and version of the servers."""
    info = lab.redis(SERVERS[0], "INFO", "server")
    flavour = lab.flavour(SERVERS[0])
    found = re.search(rf"^{flavour}_version:(\S+)", info, flags=re.MULTILINE)
    return f"{flavour} {found.group(1) if found else 'unknown'}"


def unplanned(runs: int) -> dict[str, float]:
    """Medians of the time from the death of a primary to a write that its successor accepts, on loopback."""
    module = Modules(Path(sys.executable), "newest")
    found = {}
    for name, sentinels in (("sentinel", 3), ("replication", 0)):
        times = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as home:
                servers = Servers(Path(home), _no_tls)
                try:
                    nodes, watchers = estate(servers, sentinels, DOWN_AFTER_MS)
                    nodes[0].client().set("key", "value")
                    nodes[0].client().wait(2, 2000)
                    nodes[0].kill()
                    started = time.monotonic()
                    primary = module("redis_failover", options(nodes, watchers))["primary"]
                    next(node for node in nodes if node.port == primary["port"]).client().set("key", "again")
                    times.append(time.monotonic() - started)
                finally:
                    servers.close()
        found[f"unplanned_{name}_s"] = round(statistics.median(times), 2)
        print(f"unplanned, {name}: {times}", file=sys.stderr)
    return found


def _no_tls() -> Any:
    raise AssertionError("no TLS here")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what switchovers cost.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--unplanned-runs", type=int, default=3, help="0 measures none")
    parser.add_argument("--hosts", type=Path, help="variables for playbooks/lab.yml")
    arguments = parser.parse_args()
    lab = Lab()
    hosts = ["-e", f"@{arguments.hosts.resolve()}"] if arguments.hosts else []
    for playbook in ("playbooks/lab.yml", "tests/lab_app/deploy.yml", "playbooks/provision.yml"):
        print(playbook, file=sys.stderr)
        lab.playbook(playbook, *(hosts if playbook == "playbooks/lab.yml" else []))
    result = planned(lab, arguments.runs)
    result.update(bare(lab))
    if arguments.unplanned_runs:
        result.update(unplanned(arguments.unplanned_runs))
    print(json.dumps({**result, "server": server(lab), "down_after_ms": DOWN_AFTER_MS, **versions()}))


if __name__ == "__main__":
    main()
