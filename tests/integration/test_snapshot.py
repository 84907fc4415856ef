# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a snapshot's first bytes tell of its history is what the server's own checker tells."""

from __future__ import annotations

import subprocess

from lifeline.observe.files import snapshot
from servers import Servers, find, wait_for


def test_a_snapshot_says_which_history_it_belongs_to_and_how_far_it_goes(redis_server: Servers) -> None:
    primary = redis_server()
    replica = redis_server(replica_of=primary)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "a link")
    primary.client().set("a", "1")
    primary.client().wait(1, 5000)
    replica.save()
    path = replica.directory / "dump.rdb"
    found = snapshot(str(path))
    assert found is not None
    # The checker is the server under another name.
    command = ["redis-check-rdb", str(path)]
    told = subprocess.run(command, executable=find("redis-server"), capture_output=True, text=True, check=True).stdout
    assert f"repl-id = '{found['replid']}'" in told
    assert f"repl-offset = '{found['offset']}'" in told
    assert found["offset"] == replica.client().info("replication")["master_repl_offset"]
