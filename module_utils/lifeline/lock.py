# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run at a time on an estate: a lock file on its hosts that says who holds it and since when.

It lies in /run, so that a reboot clears it. A run that died leaves its lock behind; it counts as stale once its holder
has not renewed it for a while.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Mapping, Optional

from .errors import LifelineError

DIRECTORY = "/run/lifeline"
MODE = 0o640


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. ``run`` tells runs apart; times are seconds since 1970 by the host's clock."""

    run: str
    who: str
    what: str
    since: float
    renewed: float


def decide(holder: Optional[Holder], run: str, now: float, stale_s: float) -> str:
    """free, ours, stale or taken.

    A clock that was set back makes a lock look as if renewed in the future: that one counts as taken until ``stale_s``
    have passed from then, which errs to the safe side.
    """
    if holder is None:
        return "free"
    if holder.run == run:
        return "ours"
    return "stale" if now - holder.renewed > stale_s else "taken"


def parse(text: str) -> Optional[Holder]:
    """The holder that a lock file names; None for an empty file or one that says nothing."""
    try:
        said = json.loads(text)
        return Holder(
            str(said["run"]), str(said["who"]), str(said["what"]), float(said["since"]), float(said["renewed"])
        )
    except (ValueError, TypeError, KeyError):
        return None


def path_of(directory: str, estate: str) -> Path:
    """The lock file of an estate; two estates on one host have one each."""
    return Path(directory) / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', estate)}.lock"


def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module ``estate_lock``; ``params`` are its options. Raises LifelineError without a place for it."""
    path = path_of(params["directory"], params["estate"])
    if check:
        holder = parse(path.read_text(encoding="utf-8")) if path.exists() else None
        return _answer(holder, decide(holder, params["run"], time.time(), params["stale"]), params, changed=None)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with open(os.open(path, os.O_RDWR | os.O_CREAT, MODE), "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return _under_lock(file, params)
    except OSError as error:
        raise LifelineError(
            f"The lock {path} cannot be written on this host: {error.strerror}; free some space or mend its rights."
        ) from error


def _under_lock(file: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    now = time.time()
    holder = parse(file.read())
    state = decide(holder, params["run"], now, params["stale"])
    if params["state"] == "released":
        if state == "ours":
            _write(file, "")
        return _answer(holder if state == "taken" else None, state, params, changed=state == "ours")
    if state == "taken":
        return _answer(holder, state, params, changed=False)
    since = holder.since if holder is not None and state == "ours" else now
    ours = Holder(params["run"], params["who"], params["what"], since, now)
    _write(file, json.dumps(asdict(ours)))
    return _answer(holder if state == "stale" else ours, state, params, changed=state != "ours")


def _write(file: Any, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _answer(holder: Optional[Holder], state: str, params: Mapping[str, Any], changed: Optional[bool]) -> dict[str, Any]:
    """``changed`` None: a check run, which says what a real one would do."""
    would = state in ("free", "stale") if params["state"] == "held" else state == "ours"
    return {
        "changed": would if changed is None else changed,
        "held": params["state"] == "held" and state != "taken",
        "holder": asdict(holder) if holder is not None and state in ("taken", "stale") else None,
        "stale": state == "stale",
    }
