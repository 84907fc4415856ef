# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cause is, and what it says when it is seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Iterable, Optional

if TYPE_CHECKING:
    from ..case import Case

# Severity: out of service or about to lose data; impaired or without its safety margin; worth knowing.
CRITICAL, WARNING, INFO = "critical", "warning", "info"

# How sure: the server, systemd or the kernel says so; the signs fit nothing else; the signs fit this and more.
CERTAIN, LIKELY, POSSIBLE = "certain", "likely", "possible"

# The whole estate, as a subject.
EVERYBODY = "*"


@dataclass(frozen=True)
class Match:
    """One sighting of a cause.

    ``where``: name of the node, sentinel or host it was seen in (the estate's own name where it concerns all).
    ``lines``: the evidence, each a line that a person can check.
    ``affects``: subjects whose symptoms this sighting explains, besides ``where``; ``EVERYBODY`` for all.
    ``stems_from``: subjects whose own faults may be behind this sighting, besides ``where``.
    ``severity``, ``sure``: other than the cause's own. ``data``: figures for the report and the remedy.
    ``task``: other than the cause's own; empty where that would not help here.
    """

    where: str
    lines: tuple[str, ...]
    affects: tuple[str, ...] = ()
    severity: Optional[str] = None
    sure: str = CERTAIN
    data: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    stems_from: tuple[str, ...] = ()
    task: Optional[str] = None

    @property
    def subjects(self) -> set[str]:
        """Those whose symptoms may come from this sighting; ``EVERYBODY`` among them stands for all."""
        return {self.where, *self.affects}


@dataclass(frozen=True)
class Cause:
    """One outage that Lifeline knows.

    ``fault``: its number in the fault catalogue. ``detect``: pure, from a case to its sightings.
    ``explains``: ids of causes that are its consequences in the subjects of each sighting.
    ``remedy``: what to do, as a person reads it; ``avoid``: what not to do, and what that costs.
    ``task``: name of the task file that does it, where that is safe without a person.
    ``family``: the file that it stands in, set by the catalogue.
    ``like``: id of a symptom that this is another face of: whatever explains that one explains this.
    """

    id: str
    fault: str
    title: str
    severity: str
    at_risk: str
    remedy: str
    avoid: str
    detect: Callable[[Case], Iterable[Match]]
    explains: tuple[str, ...] = ()
    task: str = ""
    like: str = ""
    family: str = ""

    @property
    def is_symptom(self) -> bool:
        """A symptom says that something is wrong, not why; alone, it is an unknown fault."""
        return self.family == "symptom"
