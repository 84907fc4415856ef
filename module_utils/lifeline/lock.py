# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run at a time on an estate: a lock file on its hosts that says who holds it and since when.

It lies in /run, so that a reboot clears it. A run that died leaves its lock behind; it counts as stale once its holder
has not renewed it for a while. Whoever comes after a run that died, or gave up, is told since when work is unfinished.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Optional

from . import atomic
from .errors import LifelineError
from .observe.shell import read

DIRECTORY = "/run/lifeline"
MODE = 0o640


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. ``run`` tells runs apart; times are seconds since 1970 by the host's clock.

    ``process``: the control node and its process that holds it (``here``), so that the same control node can tell
    whether it still lives. ``unfinished``: when the first of the runs before it began that did not finish, 0 where none
    did not. ``over``: the run has ended and holds nothing any more, but did not finish.
    """

    run: str
    who: str
    what: str
    since: float
    renewed: float
    process: str = ""
    unfinished: float = 0.0
    over: bool = False


def decide(holder: Optional[Holder], run: str, now: float, stale_s: float, dead_run: str = "") -> str:
    """free, ours, stale or taken. ``dead_run``: a run that is known to have died.

    A clock that was set back makes a lock look as if renewed in the future: that one counts as taken until ``stale_s``
    have passed from then, which errs to the safe side.
    """
    if holder is None or holder.over:
        return "free"
    if holder.run == run:
        return "ours"
    return "stale" if holder.run == dead_run or now - holder.renewed > stale_s else "taken"


def here(pid: int, root: str = "/proc") -> str:
    """What names a process of this control node for good: the machine's boot, the process, and when it started."""
    boot = read(f"{root}/sys/kernel/random/boot_id").strip()
    return f"{boot}:{pid}:{_started(pid, root)}"


def has_died(process: str, root: str = "/proc") -> bool:
    """Whether a process that ``here`` named on this same boot of this machine is gone; False where it is another's."""
    boot, _, rest = process.partition(":")
    pid, _, started = rest.partition(":")
    if not pid.isdigit() or not boot or boot != read(f"{root}/sys/kernel/random/boot_id").strip():
        return False
    return _started(int(pid), root) != started


def _started(pid: int, root: str) -> str:
    """Clock ticks after boot at which the process started: /proc/PID/stat, field 22; empty when there is none."""
    fields = read(f"{root}/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def parse(text: str) -> Optional[Holder]:
    """The holder that a lock file names; None for an empty file or one that says nothing."""
    try:
        said = json.loads(text)
        return Holder(
            str(said["run"]), str(said["who"]), str(said["what"]), float(said["since"]), float(said["renewed"]),
            str(said.get("process", "")), float(said.get("unfinished", 0)), bool(said.get("over", False)),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def path_of(directory: str, estate: str) -> Path:
    """The lock file of an estate; two estates on one host have one each."""
    return Path(directory) / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', estate)}.lock"


def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module ``estate_lock``; ``params`` are its options. Raises LifelineError without a place for it."""
    path = path_of(params["directory"], params["estate"])
    if check:
        holder = parse(path.read_text(encoding="utf-8")) if path.exists() else None
        state = decide(holder, params["run"], time.time(), params["stale"], params["dead_run"])
        return _answer(holder, state, params, changed=None, unfinished=_left(holder, state))
    try:
        with atomic.locked(path, MODE, make=0o755) as file:
            return _under_lock(file, params)
    except OSError as error:
        raise LifelineError(
            f"The lock {path} cannot be written on this host: {error.strerror}; free some space or mend its rights."
        ) from error


def _under_lock(file: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    now = time.time()
    holder = parse(file.read())
    state = decide(holder, params["run"], now, params["stale"], params["dead_run"])
    if params["state"] == "released":
        if state == "ours" and holder is not None:
            _write(file, json.dumps(asdict(replace(holder, over=True))) if params["unfinished"] else "")
        return _answer(holder if state == "taken" else None, state, params, changed=state == "ours")
    if state == "taken":
        return _answer(holder, state, params, changed=False)
    since, left = holder.since if holder is not None and state == "ours" else now, _left(holder, state)
    ours = Holder(params["run"], params["who"], params["what"], since, now, params["process"], left)
    _write(file, json.dumps(asdict(ours)))
    return _answer(holder if state == "stale" else ours, state, params, changed=state != "ours", unfinished=left)


def _left(holder: Optional[Holder], state: str) -> float:
    """Since when work is unfinished for whoever asks; 0 where it is not."""
    if holder is None or state == "taken":
        return 0.0
    return holder.unfinished if state == "ours" else holder.unfinished or holder.since


def _write(file: Any, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _answer(
    holder: Optional[Holder], state: str, params: Mapping[str, Any], changed: Optional[bool], unfinished: float = 0.0
) -> dict[str, Any]:
    """``changed`` None: a check run, which says what a real one would do."""
    would = state in ("free", "stale") if params["state"] == "held" else state == "ours"
    return {
        "changed": would if changed is None else changed,
        "held": params["state"] == "held" and state != "taken",
        "holder": asdict(holder) if holder is not None and state in ("taken", "stale") else None,
        "stale": state == "stale",
        "unfinished": unfinished,
    }
