# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""rq_requeue against ``rq requeue --all`` of the newest RQ, side by side on equal data; ends with one JSON line.

ratio_100k    how many times faster 100,000 failed jobs are back, both as commands from start to exit
seconds_1m    seconds for 1,000,000 failed jobs, start to exit
ping_p99_ms   PING of another client meanwhile; ping_idle_p99_ms is the same on the idle server, which is the machine's
rss_mb        the module's memory at its peak, at 1,000,000
orphan_scan_s one look for orphans at 1,000,000 queued jobs
limit_ratio   time at 100,000 against the physical limit: the same writes as one pipelined stream, without any check

Keys that begin with cpu_ are the same in processor time of client and server together: what the clock shows where
nobody else is at work, since the two take turns, and what can still be compared on a busy machine (``load``).

``requeue.py [--jobs-large N] [--jobs N]`` for smaller runs; ``jobs`` and ``jobs_large`` say what the figures are of.
With --scaled, RQ's command is measured on 1,000 jobs and scaled, since it takes a minute or more.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "tools"), str(ROOT / "module_utils")]

from modules import STARTER, shim  # noqa: E402 - needs the path above
from rqlab import interpreter  # noqa: E402
from servers import Server, Servers, wait_for  # noqa: E402
from wire import Wire  # noqa: E402

NEWEST = "3.0.0"
DISTINCT = 40

SEED = r"""
local first, count, traced = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local status, data = ARGV[4], ARGV[5]
redis.call('SADD', 'rq:queues', 'rq:queue:default')
for i = first, first + count - 1 do
  local id = string.format('%08x-0000-4000-8000-%012x', i, i)
  redis.call('HSET', 'rq:job:' .. id, 'created_at', '2026-11-23T10:00:00.000000Z', 'data', data,
    'success_callback_name', '', 'failure_callback_name', '', 'stopped_callback_name', '',
    'started_at', '2026-11-23T10:00:01.000000Z', 'ended_at', '2026-11-23T10:00:02.000000Z',
    'last_heartbeat', '2026-11-23T10:00:01.000000Z', 'worker_name', 'w', 'group_id', '', 'origin', 'default',
    'description', 'app.work(1)', 'enqueued_at', '2026-11-23T10:00:00.500000Z', 'timeout', '180', 'status', status)
  if status == 'failed' then
    redis.call('EXPIRE', 'rq:job:' .. id, 31536000)
    redis.call('ZADD', 'rq:failed:default', 1800000000 + i / 1000, id)
    if traced then
      redis.call('XADD', 'rq:results:' .. id, '*', 'type', '2', 'exc_string', ARGV[6 + i % (#ARGV - 5)])
      redis.call('EXPIRE', 'rq:results:' .. id, 31536000)
    end
  elseif i % 100 ~= 0 then
    redis.call('RPUSH', 'rq:queue:default', id)
  end
end
"""

FRAME = '  File "/srv/app/lib/python3.11/site-packages/rq/worker/base.py", line {0}, in frame{0}\n'
FRAME += "    code_of_{0}(argument)\n"

PINGER = """
import json, signal, sys, time
import redis
client = redis.Redis(port=int(sys.argv[1]))
taken, going = [], [True]
signal.signal(signal.SIGTERM, lambda *_: going.clear())
print("ready", flush=True)
while going:
    began = time.perf_counter()
    client.ping()
    taken.append((time.perf_counter() - began) * 1000)
    time.sleep(0.001)
taken.sort()
print(json.dumps([taken[int(len(taken) * 0.99)], taken[-1]]))
"""

# The writes of a requeue and nothing else, in the order of a stream: what the server itself takes.
LIMIT = """
import sys, time
import redis
client = redis.Redis(port=int(sys.argv[1]))
ids = client.zrange("rq:failed:default", 0, -1)
began = time.perf_counter()
for start in range(0, len(ids), 500):
    page = ids[start:start + 500]
    pipeline = client.pipeline(transaction=False)
    for job_id in page:
        key = b"rq:job:" + job_id
        pipeline.execute_command("HSET", key, "status", "queued", "enqueued_at", "2026-11-23T10:00:00.000000Z",
                                 "started_at", "", "ended_at", "", "exc_info", "x")
        pipeline.execute_command("PERSIST", key)
    pipeline.execute_command("RPUSH", "rq:queue:default", *page)
    pipeline.execute_command("ZREM", "rq:failed:default", *page)
    pipeline.execute()
print(time.perf_counter() - began)
"""

# As the stream above, but made beforehand and sent by one system call after the other: no client in the way.
RAW = """
import socket, sys, time
import redis
port = int(sys.argv[1])
ids = redis.Redis(port=port).zrange("rq:failed:default", 0, -1)
def spell(*parts):
    return b"*%d\\r\\n" % len(parts) + b"".join(b"$%d\\r\\n%s\\r\\n" % (len(part), part) for part in parts)
stream, replies = [], 0
for start in range(0, len(ids), 250):
    page = ids[start:start + 250]
    for job_id in page:
        key = b"rq:job:" + job_id
        stream.append(spell(b"HSET", key, b"status", b"queued", b"enqueued_at", b"2026-11-23T10:00:00.000000Z",
                            b"started_at", b"", b"ended_at", b"", b"exc_info", b"x"))
        stream.append(spell(b"PERSIST", key))
    stream.append(spell(b"RPUSH", b"rq:queue:default", *page))
    stream.append(spell(b"ZREM", b"rq:failed:default", *page))
replies = len(stream)
data = b"".join(stream)
import threading
wire = socket.create_connection(("127.0.0.1", port))
began = time.perf_counter()
threading.Thread(target=wire.sendall, args=(data,), daemon=True).start()
seen = 0
while seen < replies:
    seen += wire.recv(1 << 20).count(b":")
print(time.perf_counter() - began)
"""


def say(text: str) -> None:
    """One line of the running commentary."""
    print(text, flush=True)


@cache
def payloads() -> tuple[bytes, list[str]]:
    """A job's data, and tracebacks as RQ stores them."""
    data = zlib.compress(pickle.dumps(("app.work", None, (1,), {})))
    body = "Traceback (most recent call last):\n" + "".join(FRAME.format(number) for number in range(20))
    stored = [
        base64.b64encode(zlib.compress(f"{body}ValueError: number {number}".encode())).decode()
        for number in range(DISTINCT)
    ]
    return data, stored


def seed(server: Server, jobs: int, status: str = "failed", traced: bool = True) -> None:
    """Fill the server with that many jobs of the queue default."""
    client = server.client(socket_timeout=120)
    client.flushall()
    script = client.register_script(SEED)
    data, stored = payloads()
    for first in range(0, jobs, 2000):
        script(args=[first, min(2000, jobs - first), int(traced), status, data, *stored])


def ping(port: int) -> subprocess.Popen[str]:
    """Another client that keeps asking."""
    process = subprocess.Popen([sys.executable, "-c", PINGER, str(port)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    return process


def answers(process: subprocess.Popen[str]) -> tuple[float, float]:
    """p99 and maximum of its waits, in milliseconds."""
    process.terminate()
    p99, most = json.loads(process.communicate()[0])
    return p99, most


@dataclass(frozen=True)
class Taken:
    """What something took: seconds by the clock, processor seconds of client and server, memory at its peak in MB."""

    seconds: float
    cpu: float
    rss: float = 0.0


def busy(server: Server) -> float:
    """Processor seconds of the server until now."""
    found = server.client().info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def module(server: Server, port: int = 0, **options: Any) -> tuple[dict[str, Any], Taken]:
    """rq_requeue as a host runs it."""
    arguments = {
        "login_host": "127.0.0.1", "login_port": port or server.port,
        "queues": ["default"], "all_jobs": True, "max_jobs": 0, **options,
    }  # fmt: skip
    before, began = busy(server), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, ROOT / "library" / "rq_requeue.py", ROOT / "module_utils", shim()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    process.stdin.close()
    printed = process.stdout.read()
    _, _, usage = os.wait4(process.pid, 0)
    result = json.loads(printed.strip().splitlines()[-1])
    assert not result.get("failed"), result
    seconds = time.perf_counter() - began
    return result, Taken(seconds, busy(server) - before + usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def command(server: Server, port: int = 0) -> Taken:
    """RQ's own command, start to exit."""
    program = interpreter(NEWEST).parent / "rq"
    before, began = busy(server), time.perf_counter()
    process = subprocess.Popen(
        [program, "requeue", "--queue", "default", "--all", "--url", f"redis://127.0.0.1:{port or server.port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    said = process.stderr.read()  # its progress bar, or why it failed
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"rq requeue failed: {said[-500:]}"
    return Taken(time.perf_counter() - began, busy(server) - before + usage.ru_utime + usage.ru_stime)


def stream(script: str, server: Server) -> Taken:
    """One of the streams above; only the server's processor time counts."""
    before = busy(server)
    done = subprocess.run([sys.executable, "-c", script, str(server.port)], check=True, capture_output=True)
    return Taken(float(done.stdout), busy(server) - before)


def by_command(server: Server, jobs: int, port: int = 0) -> Taken:
    """RQ's own command on that many jobs."""
    seed(server, jobs)
    taken = command(server, port)
    assert server.client().zcard("rq:failed:default") == 0
    return taken


def many_times(server: Server, jobs: int, port: int = 0, fewer: int = 1000) -> Taken:
    """RQ's own command, scaled from ``fewer`` jobs; what it takes to start counts once."""
    start = by_command(server, 1, port)
    some = by_command(server, min(jobs, fewer), port)
    times = jobs / min(jobs, fewer)
    return Taken(*(begin + (took - begin) * times for begin, took in
                   ((start.seconds, some.seconds), (start.cpu, some.cpu))))  # fmt: skip


def side_by_side(server: Server, jobs: int, scaled: bool) -> dict[str, float]:
    """RQ's command, the module and the physical limit, in turn on equal data."""
    seed(server, jobs)
    _, first = module(server)
    theirs = many_times(server, jobs) if scaled else by_command(server, jobs)
    seed(server, jobs)
    result, again = module(server)
    seed(server, jobs)
    client = stream(LIMIT, server)
    seed(server, jobs)
    raw = stream(RAW, server)
    seconds, cpu = min(first.seconds, again.seconds), min(first.cpu, again.cpu)
    more = " (scaled)" if scaled else ""
    say(f"rq_requeue, {jobs:,} jobs with tracebacks, start to exit: {seconds:.2f} s, {cpu:.2f} s of processors")
    say(f"  of that inside: {result['duration']:.2f} s, {result['rate']:,} jobs/s in {result['batches']} batches")
    say(f"rq requeue --all, RQ {NEWEST}: {theirs.seconds:.1f} s, {theirs.cpu:.1f} s of processors{more}")
    say(f"the same writes, no checks: {client.seconds:.2f} s by redis-py's pipeline, {raw.seconds:.2f} s as one stream")
    return {
        "ratio_100k": round(theirs.seconds / seconds, 1),
        "cpu_ratio_100k": round(theirs.cpu / cpu, 1),
        "limit_ratio": round(result["duration"] / raw.seconds, 2),
        "cpu_limit_ratio": round(cpu / raw.cpu, 2),
        "redis_py_limit_ratio": round(result["duration"] / client.seconds, 2),
    }


def large(server: Server, jobs: int) -> dict[str, float]:
    """A million: time, memory, and how long another client waits."""
    seed(server, jobs)
    idle = ping(server.port)
    time.sleep(3)  # what is measured is three seconds of an idle server
    idle_p99, _ = answers(idle)
    pinger = ping(server.port)
    result, taken = module(server)
    p99, most = answers(pinger)
    assert result["requeued"] == jobs, result["requeued"]
    say(
        f"rq_requeue, {jobs:,} jobs with tracebacks: {taken.seconds:.1f} s, {taken.cpu:.1f} s of processors, "
        f"{taken.rss:.0f} MB, PING p99 {p99:.1f} ms max {most:.1f} ms (idle p99 {idle_p99:.1f} ms)"
    )
    return {
        "seconds_1m": round(taken.seconds, 2),
        "cpu_seconds_1m": round(taken.cpu, 2),
        "ping_p99_ms": round(p99, 2),
        "ping_idle_p99_ms": round(idle_p99, 2),
        "rss_mb": round(taken.rss),
    }


def orphans(server: Server, jobs: int) -> dict[str, float]:
    """One look for orphans among many queued jobs, one in a hundred of which is in no queue."""
    seed(server, jobs, status="queued")
    result, taken = module(server, sources=["orphaned"], grace=0.001, _ansible_check_mode=True)
    assert result["requeued"] == jobs // 100, result["requeued"]
    # Two looks, of which the first reads the queues and all keys, the second the queues again.
    say(f"orphans among {jobs:,} queued jobs: {taken.seconds:.1f} s for both looks, {taken.rss:.0f} MB")
    return {
        "orphan_scan_s": round(taken.seconds, 2),
        "cpu_orphan_scan_s": round(taken.cpu, 2),
        "orphan_rss_mb": round(taken.rss),
    }


def durable(servers: Servers, jobs: int) -> dict[str, float]:
    """With AOF and one replica."""
    server = servers(config={"appendonly": "yes", "appendfsync": "everysec"})
    replica = servers(replica_of=server)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "the replica", 60)
    seed(server, jobs)
    wait_for(lambda: server.client().wait(1, 1000) == 1, "the replica to catch up", 60)
    _, plain = module(server)
    seed(server, jobs)
    wait_for(lambda: server.client().wait(1, 1000) == 1, "the replica to catch up", 60)
    _, sure = module(server, wait_replicas=1, wait_timeout=5000)
    say(f"AOF everysec and a replica, {jobs:,} jobs: {plain.seconds:.2f} s; each batch confirmed: {sure.seconds:.2f} s")
    return {"aof_replica_s": round(plain.seconds, 2), "wait_1_s": round(sure.seconds, 2)}


def distant(server: Server, jobs: int) -> dict[str, float]:
    """At 2.6 ms round trip."""
    wire = Wire(server.port, delay=0.0013)
    seed(server, jobs)
    _, ours = module(server, wire.port)
    theirs = many_times(server, jobs, wire.port, 250).seconds
    wire.close()
    say(f"at 2.6 ms round trip, {jobs:,} jobs: {ours.seconds:.2f} s; rq requeue {theirs:.0f} s (scaled)")
    return {"rtt_s": round(ours.seconds, 2), "rtt_ratio": round(theirs / ours.seconds)}


def main() -> int:
    """Run everything; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--jobs-large", type=int, default=1_000_000)
    parser.add_argument("--scaled", action="store_true")
    chosen = parser.parse_args()
    found: dict[str, float] = {"jobs": chosen.jobs, "jobs_large": chosen.jobs_large}
    with tempfile.TemporaryDirectory() as directory:
        servers = Servers(Path(directory), lambda: (_ for _ in ()).throw(AssertionError("no TLS here")))
        try:
            server = servers()
            found.update(side_by_side(server, chosen.jobs, chosen.scaled))
            found.update(large(server, chosen.jobs_large))
            found.update(orphans(server, chosen.jobs_large))
            found.update(distant(server, chosen.jobs // 2))
            found.update(durable(servers, chosen.jobs))
        finally:
            servers.close()
    found["load"] = round(os.getloadavg()[0], 1)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
