# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What RQ enqueued survives a restart of a server whose default user is the one that the role writes."""

from __future__ import annotations

import pytest
from modules import ROOT
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from servers import Server, Servers, wait_for

# With everysec a write waits for a slow disk's fsync for up to two seconds, and a kill in that time loses it.
DURABLE: dict[str, object] = {"appendonly": "yes", "appendfsync": "always"}


def users() -> dict[str, tuple[str, str]]:
    """One who may do everything, and the line for the default user that the role's template has."""
    lines = (ROOT / "roles" / "redis_server" / "templates" / "users.acl.j2").read_text().splitlines()
    default = next(line for line in lines if line.startswith("user default "))
    return {"application": ("secret", f"~* &* +@all\n{default}")}


@pytest.fixture
def server(redis_server: Servers) -> Server:
    return redis_server(users=users(), config=DURABLE)


def test_jobs_survive_a_restart_from_the_append_only_file(server: Server, redis_server: Servers) -> None:
    connection = Redis(port=server.port, username="application", password="secret")
    job = Queue("orchestrator", connection=connection).enqueue("time.sleep", 0)
    server.kill()

    again = redis_server(port=server.port, directory=server.directory, users=users(), config=DURABLE)
    client = again.client("application")
    wait_for(lambda: not client.info("persistence")["loading"], "the data")
    assert client.lrange("rq:queue:orchestrator", 0, -1) == [job.id]
    assert client.hget(f"rq:job:{job.id}", "status") == "queued"


@pytest.mark.parametrize("password", ["", "secret"])
def test_nobody_can_log_in_as_the_default_user(server: Server, password: str) -> None:
    client = Redis(port=server.port, protocol=2)
    for command in (["PING"], ["AUTH", "default", password], ["GET", "rq:queues"]):
        with pytest.raises(RedisError, match=r"Authentication required|invalid username-password"):
            client.execute_command(*command)
