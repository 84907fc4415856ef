# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RQ jobs on an estate's primary, as an outage leaves them: written and read by plain Redis commands, without RQ."""

from __future__ import annotations

import time
from typing import Any

from scene import Estate, Scene

QUEUE = "journey"
REFUSED = "redis.exceptions.ConnectionError: Error 111 connecting to 127.0.0.1:6379. Connection refused."
IN_THE_JOB = f"""Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/rq/worker.py", line 1430, in perform_job
    return_value = job.perform()
  File "/venv/lib/python3.11/site-packages/rq/job.py", line 1287, in perform
    self._result = self._execute()
{REFUSED}
"""
AFTER_THE_JOB = f"""Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/rq/worker.py", line 1433, in perform_job
    job.heartbeat(utcnow(), job.success_callback_timeout)
  File "/venv/lib/python3.11/site-packages/rq/job.py", line 810, in heartbeat
    connection.hset(self.key, 'last_heartbeat', utcformat(timestamp))
{REFUSED}
"""
OTHER = 'Traceback (most recent call last):\n  File "/srv/app.py", line 7, in work\nValueError: no such order\n'

# What failed: status, traceback, whether in the outage, further fields; what recover.yml says of it, "" for put back.
FAILED: dict[str, tuple[str, str, bool, dict[str, str], str]] = {
    "lost": ("failed", IN_THE_JOB, True, {}, ""),
    "done": ("failed", AFTER_THE_JOB, True, {}, "completed"),
    "wrong": ("failed", OTHER, True, {}, "other_error"),
    "stopped": ("stopped", "", True, {}, "stopped"),
    "poison": ("failed", IN_THE_JOB, True, {"lifeline_requeues": "3"}, "max_requeues"),
    "early": ("failed", IN_THE_JOB, False, {}, "outside_window"),
}
# In no queue: a worker of several queues took it and died.
TAKEN = "taken"
TTL = 3600


def stamp(seconds: float) -> str:
    """As RQ writes times."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".000000Z"


def commands() -> list[list[str]]:
    """Everything above. The outage has not begun yet, so that what fails in it is dated two minutes ahead."""
    now = time.time()
    found = [["SADD", "rq:queues", f"rq:queue:{QUEUE}"]]
    common = {"origin": QUEUE, "data": '["app.work", null, [], {}]', "created_at": stamp(now - 7200), "timeout": "180"}
    for name, (status, traceback, inside, extra, _) in FAILED.items():
        at = now + 120 if inside else now - 7200
        fields = {**common, "status": status, "ended_at": stamp(at), "exc_info": traceback, **extra}
        found.append(["HSET", f"rq:job:{name}", *(word for pair in fields.items() for word in pair)])
        found.append(["EXPIRE", f"rq:job:{name}", str(TTL)])
        found.append(["ZADD", f"rq:failed:{QUEUE}", str(int(at) + TTL), name])
    fields = {**common, "status": "queued", "enqueued_at": stamp(now)}
    found.append(["HSET", f"rq:job:{TAKEN}", *(word for pair in fields.items() for word in pair)])
    # Its data is gone already.
    found.append(["ZADD", f"rq:failed:{QUEUE}", str(int(now) + TTL), "gone"])
    return found


def many(count: int) -> list[list[str]]:
    """That many failed jobs."""
    now = int(time.time())
    found = [["SADD", "rq:queues", f"rq:queue:{QUEUE}"]]
    for number in range(count):
        name = f"many{number:05d}"
        fields = ["status", "failed", "origin", QUEUE, "data", '["app.work", null, [], {}]', "ended_at", stamp(now)]
        found.append(["HSET", f"rq:job:{name}", *fields])
        found.append(["EXPIRE", f"rq:job:{name}", str(TTL)])
        found.append(["ZADD", f"rq:failed:{QUEUE}", f"{now + TTL}.{number:05d}", name])
    return found


def tell(scene: Scene, estate: Estate, wanted: list[list[str]]) -> list[Any]:
    """The replies of the estate's primary."""
    (primary,) = scene.primaries(estate)
    login = ["AUTH", "operator", scene.passwords["operator"]]
    replies: list[Any] = scene.probe(
        primary, "talk", address=scene.addresses[primary], port=6379, ca="/etc/redis/tls/ca.crt",
        commands=[login, *wanted], seconds=30,
    )  # fmt: skip
    wrong = [reply for reply in replies if isinstance(reply, dict)]
    assert not wrong, f"{estate}: {wrong[:3]}"
    return replies[1:]


def clean(scene: Scene, estate: Estate) -> None:
    """None of these jobs any more."""
    jobs = [f"rq:job:{name}" for name in (*FAILED, TAKEN)]
    tell(
        scene,
        estate,
        [["DEL", *jobs, f"rq:queue:{QUEUE}", f"rq:failed:{QUEUE}"], ["SREM", "rq:queues", f"rq:queue:{QUEUE}"]],
    )


def where(scene: Scene, estate: Estate) -> dict[str, Any]:
    """``{queued, failed}`` as sorted names, and ``ttl`` and ``status`` of each job by its name."""
    names = (*FAILED, TAKEN)
    asked = [[word, f"rq:job:{name}", *more] for name in names for word, more in (("TTL", []), ("HGET", ["status"]))]
    lists = [["LRANGE", f"rq:queue:{QUEUE}", "0", "-1"], ["ZRANGE", f"rq:failed:{QUEUE}", "0", "-1"]]
    queued, failed, *rest = tell(scene, estate, [*lists, *asked])
    return {
        "queued": sorted(queued),
        "failed": sorted(failed),
        "ttl": dict(zip(names, rest[::2], strict=True)),
        "status": dict(zip(names, rest[1::2], strict=True)),
    }


def forget(scene: Scene, estate: Estate, count: int) -> None:
    """None of ``many``'s jobs any more."""
    clean(scene, estate)
    tell(scene, estate, [["DEL", *(f"rq:job:many{number:05d}" for number in range(count))]])
