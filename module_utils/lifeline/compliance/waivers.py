# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waivers: controls that somebody has decided to live without, for a reason and until a day."""

from __future__ import annotations

import fnmatch
from dataclasses import asdict, dataclass
from datetime import date, datetime, timezone
from typing import Any, Iterable, Mapping, Optional, Sequence

from ..common.facts import clean_text
from ..errors import LifelineError

NEEDED = ("control", "reason", "owner", "expires")


@dataclass(frozen=True)
class Waiver:
    """``hosts`` are inventory names, the estate's name, or patterns of these. ``expires`` is the last day, in UTC."""

    control: str
    hosts: tuple[str, ...]
    reason: str
    owner: str
    expires: str

    def covers(self, control: str, where: str) -> bool:
        """Whether it is about this control there."""
        return self.control == control and any(fnmatch.fnmatchcase(where, pattern) for pattern in self.hosts)

    def expired(self, now: float) -> bool:
        """Whether its last day is over."""
        return datetime.fromtimestamp(now, timezone.utc).date() > date.fromisoformat(self.expires)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "hosts": list(self.hosts)}


def parse(entries: Sequence[Any], known: Iterable[str]) -> list[Waiver]:
    """From ``[{control, hosts, reason, owner, expires}]``; ``hosts`` may be left out for all.

    Raises LifelineError with all that is wrong: a waiver that nobody can read must not be passed over.
    """
    controls = set(known)
    found, problems = [], []
    for number, entry in enumerate(entries, 1):
        problem = _problem(entry, controls)
        if problem:
            problems.append(f"waiver {number} {problem}")
            continue
        hosts = entry.get("hosts") or ["*"]
        found.append(
            Waiver(
                control=str(entry["control"]),
                hosts=tuple(str(host) for host in ([hosts] if isinstance(hosts, str) else hosts)),
                reason=clean_text(str(entry["reason"])),
                owner=clean_text(str(entry["owner"])),
                expires=str(entry["expires"]),
            )
        )
    if problems:
        raise LifelineError(f"compliance_waivers: {'; '.join(problems)}. Correct them in the inventory.")
    return found


def _problem(entry: Any, controls: set[str]) -> str:
    if not isinstance(entry, Mapping):
        return "is no mapping of control, hosts, reason, owner and expires"
    missing = [name for name in NEEDED if not str(entry.get(name) or "").strip()]
    unknown = sorted(set(map(str, entry)) - {*NEEDED, "hosts"})
    if missing or unknown:
        return f"{'lacks ' + ', '.join(missing) if missing else 'has unknown ' + ', '.join(unknown)}"
    if str(entry["control"]) not in controls:
        return f"names {entry['control']}, which is no control"
    try:
        date.fromisoformat(str(entry["expires"]))
    except ValueError:
        return f"expires on {entry['expires']}, which is no day like 2027-03-31"
    return ""


def for_result(waivers: Iterable[Waiver], control: str, where: str, now: float) -> Optional[Waiver]:
    """The waiver that covers a result: one in force before one that has expired."""
    covering = [waiver for waiver in waivers if waiver.covers(control, where)]
    return next((waiver for waiver in covering if not waiver.expired(now)), next(iter(covering), None))
