# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What INFO persistence says of work that a server does on its files."""

from __future__ import annotations

from typing import Any, Mapping

RUNNING, DONE, FAILED = "running", "done", "failed"


def aof_rewrite(info: Mapping[str, Any]) -> str:
    """How a rewrite of the append-only file that was asked for stands: RUNNING, DONE or FAILED.

    One that was asked for while a snapshot is written begins after it. One that fails when the file is switched on is
    scheduled again forever, and its status is ``err`` between the attempts (measured on Redis 7.0.15, full disk).
    """
    scheduled = int(info["aof_rewrite_scheduled"])
    if int(info["aof_rewrite_in_progress"]) or (scheduled and int(info["rdb_bgsave_in_progress"])):
        return RUNNING
    if info["aof_last_bgrewrite_status"] != "ok":
        return FAILED
    return RUNNING if scheduled else DONE
