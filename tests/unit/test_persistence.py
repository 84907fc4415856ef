# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a rewrite of the append-only file stands, by what Redis 7.0 says of itself at each stage."""

from __future__ import annotations

import pytest
from lifeline.formats.persistence import DONE, FAILED, RUNNING, aof_rewrite


@pytest.mark.parametrize(
    ("saving", "scheduled", "writing", "last", "state"),
    [
        (0, 0, 1, "ok", RUNNING),
        (0, 0, 1, "err", RUNNING),  # the one before failed
        (1, 1, 0, "ok", RUNNING),  # it waits for a snapshot
        (1, 1, 0, "err", RUNNING),
        (0, 1, 0, "ok", RUNNING),  # it begins at the next tick
        (0, 0, 0, "ok", DONE),
        (1, 0, 0, "ok", DONE),
        (0, 0, 0, "err", FAILED),
        (0, 1, 0, "err", FAILED),  # it is scheduled again forever
    ],
)
def test_how_a_rewrite_stands(saving: int, scheduled: int, writing: int, last: str, state: str) -> None:
    info = {
        "rdb_bgsave_in_progress": saving,
        "aof_rewrite_scheduled": scheduled,
        "aof_rewrite_in_progress": writing,
        "aof_last_bgrewrite_status": last,
    }
    assert aof_rewrite(info) == state
