# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where things are, and the one connection to Redis that a process has."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from redis import Redis

QUEUE = "orchestrator"
STATE = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/rq"))
ACKNOWLEDGED = STATE / "acknowledged.jsonl"
EXECUTIONS = STATE / "executions"
SESSION_SECONDS = 3600

# What an application may touch by default begins with rq: or session:, so all of ours does.
SESSION = "session:user:{}"
TASK = "session:task:{}"
HEALTH = "session:health:{}"


def connection() -> Redis:
    """Redis, through the URL that the unit's environment file gives. Gives up in seconds, so that callers see a 503."""
    return Redis.from_url(os.environ["REDIS_URL"], socket_connect_timeout=2, socket_timeout=5)


def acknowledge(job_id: str) -> None:
    """Remember, beyond any outage of Redis, that Redis took this job."""
    line = json.dumps({"id": job_id, "at": time.time()}) + "\n"
    descriptor = os.open(ACKNOWLEDGED, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
