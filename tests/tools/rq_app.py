# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jobs that real workers run in tests; imported by any RQ version's environment."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from rq import get_current_job


def _connection() -> Any:
    job = get_current_job()
    assert job is not None
    return job.id, job.connection


def work(*_args: Any, **_kwargs: Any) -> str:
    """Count that this job ran; fails while the key test:fail is there."""
    job_id, connection = _connection()
    if connection.exists("test:fail"):
        raise RuntimeError("told to fail")
    connection.hincrby("test:ran", job_id, 1)
    connection.rpush("test:order", job_id)
    return "done"


def other(*_args: Any) -> str:
    """The same under another name."""
    return work()


def slow(seconds: float) -> str:
    """Count, then take a while."""
    job_id, connection = _connection()
    connection.hincrby("test:running", job_id, 1)
    time.sleep(seconds)
    return work()


def die(*_args: Any) -> None:
    """Take the worker and its horse along, as a power cut does."""
    job_id, connection = _connection()
    if connection.exists("test:fail"):
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    connection.hincrby("test:ran", job_id, 1)


def doze(seconds: float) -> str:
    """Say that it runs, then need no Redis any more."""
    job_id, connection = _connection()
    connection.hincrby("test:running", job_id, 1)
    time.sleep(seconds)
    return "done"
