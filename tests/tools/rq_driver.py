# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs inside the environment of one RQ version: takes steps as JSON lines, answers each in one.

A step is ``[PORT, "enqueue", {queue, count, function, ...}]``, with the port of the server; the steps are the functions
below. With ``impatient`` its connection never tries again.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry as Retrying
from rq import Queue, Retry, SimpleWorker, Worker
from rq.job import Job
from rq.registry import FailedJobRegistry, clean_registries
from rq.version import VERSION

MAJOR = int(VERSION.split(".")[0])


def _queue(connection: Any, name: str, serializer: Any = None) -> Queue:
    return Queue(name, connection=connection, serializer=serializer)


def _serializer(name: Any) -> Any:
    if name == "json":
        from rq.serializers import JSONSerializer

        return JSONSerializer
    return None


def enqueue(connection: Any, count: int = 1, queue: str = "default", **given: Any) -> list[str]:
    """Enqueue jobs of ``rq_app.work``."""
    function = "rq_app." + given.pop("function", "work")
    serializer = _serializer(given.pop("serializer", None))
    args = given.pop("args", [])
    prefix = given.pop("prefix", None)
    if "retry" in given:
        given["retry"] = Retry(max=given.pop("retry"))
    if "rate_limit" in given:
        from rq.rate_limit import RateLimit

        given["rate_limit"] = RateLimit(*given.pop("rate_limit"))
    found = []
    target = _queue(connection, queue, serializer)
    for number in range(count):
        options = dict(given)
        if prefix:
            options["job_id"] = f"{prefix}{number:05d}"
        found.append(target.enqueue(function, *args, **options).id)
    return found


def work(
    connection: Any, queues: Any = ("default",), simple: bool = True, serializer: Any = None, dies_in: Any = None
) -> bool:
    """Work in burst mode until the queues are empty, or until the worker comes to its method ``dies_in``."""
    kind = SimpleWorker if simple else Worker
    chosen = _serializer(serializer)
    names = [_queue(connection, name, chosen) for name in queues]
    worker = kind(names, connection=connection, serializer=chosen)
    if dies_in:
        mortal(worker, dies_in)
    return bool(worker.work(burst=True, logging_level="ERROR"))


def mortal(worker: Any, method: str) -> None:
    """Have the worker killed when it calls that method: the horse with it, if it is the horse that calls."""
    parent = os.getpid()

    def die(*_args: Any, **_kwargs: Any) -> None:
        os.kill(parent, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(worker, method, die)


def requeue(connection: Any, queue: str = "default", serializer: Any = None, at_front: bool = False) -> int:
    """Requeue everything that failed, by RQ's own API."""
    registry = FailedJobRegistry(queue, connection=connection, serializer=_serializer(serializer))
    raw = connection.zrange("rq:failed:" + queue, 0, -1)
    options = {"at_front": True} if at_front else {}
    for job_id in raw:
        registry.requeue(job_id.decode(), **options)
    return len(raw)


def clean(connection: Any, queue: str = "default") -> None:
    """RQ's own clean-up of a queue's registries."""
    clean_registries(_queue(connection, queue))


def status(connection: Any, job_id: str, serializer: Any = None) -> str:
    """What RQ itself says of a job."""
    found = Job.fetch(job_id, connection=connection, serializer=_serializer(serializer)).get_status()
    return str(getattr(found, "value", found))


def version(connection: Any) -> str:
    """RQ's version."""
    del connection
    return str(VERSION)


STEPS = {step.__name__: step for step in (enqueue, work, requeue, clean, status, version)}


def main() -> None:
    """Answer steps until there are no more."""
    logging.disable(logging.CRITICAL)
    replies = sys.stdout
    sys.stdout = sys.stderr  # whatever RQ and jobs print must not look like an answer
    for line in sys.stdin:
        port, name, options = json.loads(line)
        patience: dict[str, Any] = {"retry": Retrying(NoBackoff(), 0)} if options.pop("impatient", False) else {}
        with Redis(port=port, **patience) as connection:
            answer = STEPS[name](connection, **options)
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
