# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the workers run."""

from __future__ import annotations

import os
import time

from rq import get_current_job

from .settings import EXECUTIONS, TASK, connection


def work(seconds: float = 0.0) -> str:
    """Take some time, then leave one file for this execution: who counts files sees jobs that ran twice or never.

    The file comes last, so that a job that Redis interrupted and that runs again has left no trace the first time.
    """
    job = get_current_job()
    connection().hset(TASK.format(job.id), mapping={"state": "running", "started": time.time()})
    time.sleep(seconds)
    EXECUTIONS.mkdir(exist_ok=True)
    path = EXECUTIONS / f"{job.id}.{time.time_ns()}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    os.fsync(descriptor)
    os.close(descriptor)
    return path.name
