# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which jobs a person means: options into one checked value, and the filters that need a job's payload or error."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Optional

from ..errors import LifelineError
from .keys import match

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)$")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Selection:
    """The jobs to take. Times are Unix seconds; ``after`` and ``before`` belong to the window themselves."""

    queues: tuple[str, ...]
    job_ids: tuple[bytes, ...] = ()
    functions: tuple[str, ...] = ()
    exclude_functions: tuple[str, ...] = ()
    exception: Optional[re.Pattern[str]] = None
    after: Optional[float] = None
    before: Optional[float] = None
    workers: tuple[str, ...] = ()
    stopped: bool = False
    completed: bool = False

    @property
    def by_function(self) -> bool:
        """Whether a job's function must be known."""
        return bool(self.functions or self.exclude_functions)

    @property
    def by_error(self) -> bool:
        """Whether a job's error must be known."""
        return self.exception is not None or not self.completed

    def wants_function(self, name: str) -> bool:
        """Whether a job that calls this function is meant."""
        raw = name.encode()
        if any(match(raw, pattern) for pattern in self.exclude_functions):
            return False
        return not self.functions or any(match(raw, pattern) for pattern in self.functions)

    def wants_error(self, traceback: str) -> bool:
        """Whether a job that failed like this is meant."""
        return self.exception is None or bool(self.exception.search(traceback))


def selection(params: dict[str, Any], now: float) -> Selection:
    """From the options of ``options.selection``; ``now`` is the server's clock. LifelineError says what is missing."""
    queues = tuple(name for name in params["queues"] if name)
    if not queues:
        raise LifelineError("queues is empty: name the queues, or write ['*'] for all of them.")
    filters = ("job_ids", "functions", "exclude_functions", "exception", "failed_after", "failed_before", "older_than")
    if not params["all_jobs"] and not any(params[name] for name in (*filters, "worker")):
        raise LifelineError(
            "No filter is given: select jobs (failed_after, functions, exception, job_ids, ...), or say all_jobs: true."
        )
    before = moment(params["failed_before"], "failed_before")
    if params["older_than"]:
        limit = now - age(params["older_than"])
        before = limit if before is None else min(before, limit)
    return Selection(
        queues=queues,
        job_ids=tuple(dict.fromkeys(name.encode() for name in params["job_ids"])),
        functions=tuple(params["functions"]),
        exclude_functions=tuple(params["exclude_functions"]),
        exception=pattern(params["exception"]),
        after=moment(params["failed_after"], "failed_after"),
        before=before,
        workers=tuple(params["worker"]),
        stopped=params["include_stopped"],
        completed=params["include_completed"],
    )


def moment(given: Optional[str], option: str) -> Optional[float]:
    """Unix seconds of an ISO 8601 time (UTC unless it says otherwise) or of a number; None for nothing."""
    if not given:
        return None
    try:
        return float(given)
    except ValueError:
        pass
    try:
        parsed = datetime.fromisoformat(given.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise LifelineError(
            f"{option}: {given!r} is no time; write it like 2026-11-23T03:15:00Z, or as Unix seconds."
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()


def age(given: str) -> float:
    """Seconds of ``90``, ``90s``, ``15m``, ``2h`` or ``1d``."""
    found = _AGE.match(given.strip())
    if not found:
        raise LifelineError(f"older_than: {given!r} is no duration; write it like 90s, 15m, 2h or 1d.")
    return float(found[1]) * _UNITS[found[2]]


def pattern(given: Optional[str]) -> Optional[re.Pattern[str]]:
    """A compiled regular expression, or None."""
    try:
        return re.compile(given) if given else None
    except re.error as error:
        raise LifelineError(f"exception: {given!r} is no regular expression: {error}.") from None


def stamp(seconds: float) -> str:
    """A time as RQ stores it: UTC with microseconds."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
