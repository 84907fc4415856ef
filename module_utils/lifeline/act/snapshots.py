# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Have a running server write a snapshot of now, and keep it."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any, Optional

from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ..common.waiting import until
from ..errors import LifelineError
from .kept import Keeper


def keep_snapshot(
    endpoint: Endpoint, credentials: Credentials, keeper: Keeper, stamp: str, seconds: float
) -> tuple[str, int, Optional[int]]:
    """(path of the copy, its bytes, its keys where a checker told). Writers have to wait meanwhile.

    Raises LifelineError when there is no whole snapshot, checked and kept, within so many seconds.
    """
    try:
        with closing(connect(endpoint, credentials)) as client:
            words = ("dir", "dbfilename")
            place, name = (str(next(iter(client.config_get(word).values()), "")) for word in words)
            home = Keeper(place, keeper.account)
            before = home.identity(name)
            _save(client, endpoint, time.monotonic() + seconds, seconds)
    except CONNECTION_ERRORS as error:
        raise LifelineError(
            f"{endpoint} could not be saved before it follows: {reason(error)}; nothing was changed."
        ) from error
    return home.keep_snapshot(stamp, name, unlike=before)


def _save(client: Any, endpoint: Endpoint, deadline: float, seconds: float) -> None:
    """A save that begins now: one that runs already began before the last write, and another's child is waited for."""
    info: dict[str, Any] = {}

    def idle() -> bool:
        info.update(client.info("persistence"))
        return not (info["rdb_bgsave_in_progress"] or info.get("aof_rewrite_in_progress"))

    def begun() -> bool:
        try:
            client.execute_command("BGSAVE")
        except CONNECTION_ERRORS as error:
            if "in progress" not in str(error):
                raise
            return False
        return True

    ended = until(lambda: idle() and begun(), deadline - time.monotonic()) and until(idle, deadline - time.monotonic())
    if not ended:
        raise LifelineError(f"{endpoint} did not finish a snapshot within {seconds:.0f} s; nothing was changed.")
    if info["rdb_last_bgsave_status"] != "ok":
        raise LifelineError(
            f"The snapshot of {endpoint} failed (see its log); nothing was changed. Free space on its data folder."
        )
