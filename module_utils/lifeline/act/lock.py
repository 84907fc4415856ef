# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run at a time on an estate: a lock file on its hosts that says who holds it and since when.

It lies in /run, so that a reboot clears it. A run that died leaves its lock behind. Its own control node sees that it
died; any other waits until the lock is old (``may_take_over``), so a long run renews its own at its steps (``is_due``).
Whoever comes after a run that died, or gave up, is told since when work is unfinished.
"""

from __future__ import annotations

import json
import math
import os
import pwd
import re
import socket
import stat
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional

from ..common import atomic
from ..common.facts import clean_text
from ..common.shell import read
from ..errors import LifelineError

DIRECTORY = "/run/lifeline"
MODE = 0o640
NEVER = 1e9  # seconds; as ``stale``, that no lock is too old
TEXT = 120  # most characters of what a lock file says of its holder


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. ``run`` tells runs apart; times are seconds since 1970 by the host's clock.

    ``process``: the control node and its process that holds it (``here``), so that the same control node can tell
    whether it still lives. ``unfinished``: when the first of the runs began that did not finish, 0 where all did: of
    those before it, or with ``over``, of it too. ``over``: the run ended, at ``renewed``, and holds nothing any more.
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
    """What names a process of this control node: the machine's boot and container, the process, when it started."""
    return f"{_place(root)}:{pid}:{_started(pid, root)}"


def is_ours(process: str, root: str = "/proc") -> bool:
    """Whether ``here`` named the process on this same control node, since it booted."""
    place, _, rest = process.partition(":")
    return rest.partition(":")[0].isdigit() and place == _place(root) != ""


def has_died(process: str, root: str = "/proc") -> bool:
    """Whether a process of this control node is gone; False where it is another's, of which nothing is known."""
    pid, _, started = process.partition(":")[2].partition(":")
    return is_ours(process, root) and _started(int(pid), root) != started


def may_take_over(process: str, quiet_s: float, stale_s: float, root: str = "/proc") -> bool:
    """Whether a lock was left behind: its process died, or is another control node's and was not heard for long."""
    return has_died(process, root) or (not is_ours(process, root) and quiet_s > stale_s)


def is_due(answer: Any, stale_s: float, now: float) -> bool:
    """Whether a run that holds a lock should say that it lives: by what ``estate_lock`` last answered one of its hosts.

    A quarter of the time, so that the step after it may take the other three.
    """
    if not isinstance(answer, dict) or answer.get("held") is not True:
        return False
    asked = answer.get("asked")
    return not isinstance(asked, (int, float)) or now - asked > stale_s / 4


def name_of_run(pid: int, root: str = "/proc") -> str:
    """What tells the run of a process from all others; the same for all its tasks, so that it can take a lock again."""
    return _run_name(f"{socket.gethostname()}-{pid}-{_started(pid, root)}")


def named(pid: int) -> dict[str, str]:
    """What a process of the control node tells ``estate_lock`` of itself."""
    return {"process": here(pid), "run": name_of_run(pid), "who": who_runs()}


def who_runs() -> str:
    """The person and the control node, for others to read."""
    try:
        user = os.environ.get("USER") or pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # an account that only its number is known of, as in some containers
        user = f"user {os.geteuid()}"
    return f"{user} on {socket.gethostname()}"


def _place(root: str) -> str:
    """This boot and process namespace; empty when unknown. Containers of one machine share the boot alone."""
    boot = read(f"{root}/sys/kernel/random/boot_id").strip()
    try:
        return f"{boot}.{os.stat(f'{root}/self/ns/pid').st_ino}" if boot else ""
    except OSError:
        return ""


def _run_name(text: str) -> str:
    """A run's name that can be pasted into a shell; a host may have written anything."""
    return re.sub(r"[^A-Za-z0-9_.:-]", "_", text)[:TEXT]


def _started(pid: int, root: str) -> str:
    """Clock ticks after boot at which the process started: /proc/PID/stat, field 22; empty when there is none."""
    fields = read(f"{root}/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def parse(text: str) -> Optional[Holder]:
    """The holder that a lock file names; None for an empty file or one that says nothing."""
    try:
        return holder_of(json.loads(text))
    except (ValueError, RecursionError):
        return None


def holder_of(said: Any) -> Optional[Holder]:
    """A holder as a host described it, fit to be shown; None where it says nothing."""
    try:
        run, who, what = _run_name(str(said["run"])), *(clean_text(str(said[key]))[:TEXT] for key in ("who", "what"))
        since, renewed, unfinished = (float(said.get(key, 0)) for key in ("since", "renewed", "unfinished"))
        process, over = str(said.get("process", ""))[:TEXT], bool(said.get("over", False))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return Holder(run, who, what, since, renewed, process, unfinished, over) if math.isfinite(since + renewed) else None


def refusal(estate: str, answers: Iterable[Any], renewing: bool = False) -> str:
    """Why a run may not change an estate, by what its hosts answered; empty where all of them gave it the lock.

    ``renewing``: the run had the lock already, and has changed something.
    """
    refused = [answer for answer in answers if isinstance(answer, dict) and answer.get("held") is False]
    if refused and renewing:
        return (
            f"Another run took the lock of estate {estate} while this one worked, so this one stops here. What it has "
            "changed stays. Wait until the other run ends, then run this again."
        )
    holders = [holder for answer in refused if (holder := holder_of(answer.get("holder")))]
    if holders:
        first = min(holders, key=lambda holder: holder.since)
        return (
            f"Estate {estate} is being changed by another run: {first.who} started {first.what} at "
            f"{_utc(first.since)}. Nothing was changed. Wait until that run ends. If you know that it died, run this "
            f"again with -e redis_dead_run={first.run}"
        )
    if refused:
        return f"Estate {estate} was changed by another run while this one looked. Nothing was changed. Run this again."
    return ""


def _utc(moment: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def path_of(directory: str, estate: str) -> Path:
    """The lock file of an estate; two estates on one host have one each."""
    return Path(directory) / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', estate)}.lock"


def default_directory() -> str:
    """Where locks lie: one place of the host's for root, else one of the user's own."""
    uid = os.geteuid()
    return DIRECTORY if uid == 0 else os.path.join(tempfile.gettempdir(), f"lifeline-{uid}")


def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module ``estate_lock``; ``params`` are its options. Raises LifelineError without a place for it."""
    path = path_of(params["directory"] or default_directory(), params["estate"])
    try:
        if check:
            holder = parse(path.read_text(encoding="utf-8")) if path.exists() else None
            state = decide(holder, params["run"], time.time(), params["stale"], params["dead_run"])
            return _answer(holder, state, params, changed=None, unfinished=_left(holder, state))
        if os.path.lexists(path.parent):
            _must_be_ours(path.parent)
        with atomic.locked(path, MODE, make=0o755) as file:
            return _under_lock(file, params)
    except OSError as error:
        raise LifelineError(
            f"The lock {path} cannot be used on this host: {error.strerror}; free some space or repair its rights."
        ) from error


def _must_be_ours(directory: Path) -> None:
    """Raises LifelineError for a folder that somebody else made: they could take the lock away."""
    found = directory.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
        raise LifelineError(f"The lock's folder {directory} on this host belongs to somebody else: remove it.")


def _under_lock(file: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    now = time.time()
    holder = parse(file.read())
    state = decide(holder, params["run"], now, params["stale"], params["dead_run"])
    if params["state"] == "released":
        if state == "ours" and holder is not None:
            began = {"finished": 0.0, "as_before": holder.unfinished, "broken_off": holder.unfinished or holder.since}
            _write(file, replace(holder, renewed=now, unfinished=began[params["ended"]], over=True))
        return _answer(holder if state == "taken" else None, state, params, changed=state == "ours")
    if holder is not None and holder.over and holder.run != params["run"] and holder.renewed > params["looked_at"] > 0:
        state = "overtaken"
    if state in ("taken", "overtaken"):
        return _answer(holder, state, params, changed=False)
    since, left = holder.since if holder is not None and state == "ours" else now, _left(holder, state)
    ours = Holder(params["run"], params["who"], params["what"], since, now, params["process"], left)
    _write(file, ours)
    return _answer(holder if state == "stale" else ours, state, params, changed=state != "ours", unfinished=left)


def _left(holder: Optional[Holder], state: str) -> float:
    """Since when work is unfinished for whoever asks; 0 where it is not."""
    if holder is None or state == "taken":
        return 0.0
    return holder.unfinished if state == "ours" or holder.over else holder.unfinished or holder.since


def _write(file: Any, holder: Holder) -> None:
    file.seek(0)
    file.truncate()
    file.write(json.dumps(asdict(holder)))
    file.flush()


def _answer(
    holder: Optional[Holder], state: str, params: Mapping[str, Any], changed: Optional[bool], unfinished: float = 0.0
) -> dict[str, Any]:
    """``changed`` None: a check run, which says what a real one would do."""
    would = state in ("free", "stale") if params["state"] == "held" else state == "ours"
    shown = holder if holder is not None and state in ("taken", "stale") else None
    return {
        "changed": would if changed is None else changed,
        "held": params["state"] == "held" and state not in ("taken", "overtaken"),
        "holder": asdict(shown) if shown else None,
        "renewed": state == "ours",
        "quiet": max(0.0, round(time.time() - shown.renewed, 3)) if shown else 0.0,
        "stale": state == "stale",
        "unfinished": unfinished,
        "who": params["who"],
    }
