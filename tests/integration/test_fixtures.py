# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The servers that every other integration test stands on are what they claim to be."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from servers import Servers, wait_for


def test_a_server_with_tls_and_users_refuses_all_others(redis_server: Servers, other_ca: Path) -> None:
    server = redis_server(tls=True, users={"default": ("it's \"#%\\", "~* &* +@all"), "app": ("secret", "~app:* +get")})
    assert server.client().ping()
    with pytest.raises(redis.exceptions.NoPermissionError):
        server.client("app").get("other")
    with pytest.raises(redis.exceptions.AuthenticationError):
        server.client("app", "wrong").ping()
    with pytest.raises(redis.exceptions.ConnectionError):
        server.client(ssl_ca_certs=str(other_ca)).ping()


def test_replicas_follow_and_sentinels_watch(redis_server: Servers) -> None:
    primary = redis_server()
    replica = redis_server(replica_of=primary)
    sentinel = redis_server.sentinel("estate", primary)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "the replica's link")
    primary.client().set("k", "v")
    wait_for(lambda: replica.client().get("k") == "v", "the write on the replica")
    assert sentinel.client().sentinel_get_master_addr_by_name("estate") == (primary.host, primary.port)
    primary.kill()
    assert not primary.running()
