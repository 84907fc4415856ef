# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All that an RQ application does with Redis in its life, with whatever RQ this Python has. Run as a program.

Arguments: port, user, password. Fails when Redis refuses anything.
"""

from __future__ import annotations

import sys
import threading
import time
from datetime import timedelta
from typing import Any

import redis
import rq
from rq.command import send_stop_job_command
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry


def add(one: int, two: int) -> int:
    return one + two


def fail() -> None:
    raise ValueError("on purpose")


def sleep() -> None:
    time.sleep(30)


def main() -> None:
    port, user, password = sys.argv[1:]
    connection = redis.Redis(port=int(port), username=user, password=password)
    queue: Any = rq.Queue("work", connection=connection)
    first: Any = queue.enqueue(add, 1, 2, meta={"a": 1}, result_ttl=60)
    queue.enqueue(add, 3, 4, depends_on=first)
    broken = queue.enqueue(fail, retry=rq.Retry(max=1))
    queue.enqueue_in(timedelta(seconds=0), add, 5, 6)
    queue.enqueue_in(timedelta(hours=1), add, 7, 8).cancel()
    queue.enqueue(add, 1, 1, at_front=True, job_timeout=5, ttl=60)
    rq.Queue.all(connection=connection)
    queue.enqueue_many([rq.Queue.prepare_data(add, (1, 2)), rq.Queue.prepare_data(add, (3, 4))])

    rq.Worker([queue], connection=connection, name="journey").work(burst=True, with_scheduler=True)
    first.refresh()
    assert first.get_status() == "finished", first.get_status()
    for registry in (FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry):
        one = registry(queue=queue)
        one.get_job_ids()
        one.cleanup()
    assert broken.id in FailedJobRegistry(queue=queue).get_job_ids()
    FailedJobRegistry(queue=queue).requeue(broken.id)
    Job.fetch(broken.id, connection=connection).delete()
    list(rq.Worker.all(connection=connection))
    rq.Worker.count(connection=connection)

    # A worker that is told over pub/sub to stop its job.
    long = queue.enqueue(sleep)

    def stop() -> None:
        while Job.fetch(long.id, connection=connection).get_status() != "started":
            time.sleep(0.1)
        time.sleep(0.2)  # RQ forks its work horse just after that
        send_stop_job_command(connection, long.id)

    thread = threading.Thread(target=stop)
    thread.start()
    rq.Worker([queue], connection=connection, name="stopper").work(burst=True)
    thread.join()
    assert Job.fetch(long.id, connection=connection).get_status() == "stopped"
    queue.empty()
    queue.delete(delete_jobs=True)

    # A session, as Flask-Session keeps it.
    connection.set("session:1", "data", ex=60)
    connection.setex("session:1", 60, "data")
    assert connection.get("session:1") == b"data"
    connection.delete("session:1")
    batch: Any
    with connection.pipeline() as batch:
        batch.watch("rq:own")
        batch.multi()
        batch.incr("rq:own")
        batch.expire("rq:own", 10)
        batch.execute()
    assert connection.eval("return redis.call('GET', KEYS[1])", 1, "rq:own") == b"1"
    assert connection.info()["role"] == "master"


if __name__ == "__main__":
    import rq_journey  # workers find functions by their module's name, which __main__ is not

    rq_journey.main()
