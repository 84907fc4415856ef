# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong, and what comes of what: every cause looks at the case once, then consequences go under their cause.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ..common.facts import clean_text
from .case import Case
from .causes.base import CRITICAL, EVERYBODY, INFO, WARNING, Cause, Match
from .causes.catalogue import CATALOGUE


@dataclass
class Finding:
    """What is wrong and why: a cause of the catalogue (``causes``), or an unknown fault that only its symptom shows.

    ``severity``: critical, warning or info. ``sure``: certain, likely or possible. ``consequences``: what else was seen
    that comes of it, each ``{id, title, where, evidence}``. ``task``: the remedy's task file; empty where a person has
    to do it.
    """

    id: str
    title: str
    where: str
    severity: str
    evidence: list[str] = field(default_factory=list)
    remedy: str = ""
    fault: str = ""
    family: str = ""
    sure: str = "certain"
    unknown: bool = False
    at_risk: str = ""
    avoid: str = ""
    task: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    consequences: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports and for Ansible; it shares its parts with this."""
        return dict(vars(self))


ORDER = {CRITICAL: 0, WARNING: 1, INFO: 2}


@dataclass
class Sighting:
    """A cause where it was seen."""

    cause: Cause
    match: Match
    under: Optional[Sighting] = None

    @property
    def severity(self) -> str:
        return self.match.severity or self.cause.severity

    @property
    def root(self) -> Sighting:
        """What it is a consequence of in the end; itself where nothing explains it."""
        found = self
        while found.under is not None:
            found = found.under
        return found


def see(case: Case) -> tuple[list[Sighting], list[str]]:
    """Every cause that shows, wherever it shows; and the ids of those that cannot be judged.

    One cause that stumbles over odd evidence must not hide what all others have seen.
    """
    sightings: list[Sighting] = []
    unjudged: list[str] = []
    for cause in CATALOGUE:
        try:
            sightings += [Sighting(cause, match) for match in cause.detect(case)]
        except Exception:  # noqa: BLE001 - whatever it is, the other causes are still wanted
            unjudged.append(cause.id)
    return sightings, unjudged


def explain(sightings: Sequence[Sighting]) -> None:
    """Put each consequence under what explains it; a cause before a symptom, the nearest before the rest."""
    explaining = _by_consequence(sightings)
    for sighting in sightings:
        where = sighting.match.where
        candidates = (
            other
            for subject in (where, *sighting.match.stems_from, EVERYBODY)
            for consequence in (sighting.cause.id, sighting.cause.like)
            for other in explaining.get((consequence, subject), ())
            if other is not sighting and other.root is not sighting
        )
        sighting.under = min(
            candidates, key=lambda other: (other.cause.is_symptom, other.match.where != where), default=None
        )


def _by_consequence(sightings: Sequence[Sighting]) -> dict[tuple[str, str], list[Sighting]]:
    """By what it may explain, and in whom: so that no sighting has to be compared with every other."""
    found: dict[tuple[str, str], list[Sighting]] = {}
    for sighting in sightings:
        for subject in sighting.match.subjects:
            for consequence in sighting.cause.explains:
                found.setdefault((consequence, subject), []).append(sighting)
    return found


def found(sightings: Sequence[Sighting]) -> list[Finding]:
    consequences: dict[int, list[Sighting]] = {}
    for sighting in sightings:
        if sighting.under is not None:
            consequences.setdefault(id(sighting.root), []).append(sighting)
    return [_finding(root, consequences.get(id(root), ())) for root in sightings if root.under is None]


def _finding(sighting: Sighting, consequences: Sequence[Sighting]) -> Finding:
    cause, match = sighting.cause, sighting.match
    severity = min([sighting.severity, *(other.severity for other in consequences)], key=lambda grade: ORDER[grade])
    return Finding(
        id=cause.id,
        title=cause.title,
        where=match.where,
        severity=severity,
        evidence=[clean_text(line) for line in match.lines],
        remedy=cause.remedy,
        fault=cause.fault,
        family=cause.family,
        sure=match.sure,
        unknown=cause.is_symptom,
        at_risk=cause.at_risk,
        avoid=cause.avoid,
        task=cause.task if match.task is None else match.task,
        data=dict(match.data),
        consequences=[
            {
                "id": other.cause.id,
                "title": other.cause.title,
                "where": other.match.where,
                "evidence": [clean_text(line) for line in other.match.lines],
            }
            for other in consequences
        ],
    )


def began(case: Case) -> Optional[float]:
    """When the trouble that shows began; of a primary that was replaced and is still gone, the sentinels tell."""
    gone = {server.node.host for server in case.servers if not server.alive}
    logged = [watcher.logged("sdown_primary") for watcher in case.watchers]
    seen = [found.number("last") for found in logged if found and gone & set(found.text("sample").split())]
    shown = outage_began([host.facts.plain for host in case.hosts.values()])
    return min([*seen, *([] if shown is None else [shown])], default=None)


def promoted_at(case: Case) -> Optional[float]:
    logged = (server.logged("promoted") for server in case.servers)
    return max((found.number("last") for found in logged if found is not None), default=None)


def outage_began(evidence: Sequence[Mapping[str, Any]]) -> Optional[float]:
    """When the trouble that still shows began, in seconds since 1970 by the hosts' clocks; None when none shows.

    Told by replicas whose link is down, and by systemd for units that do not run.
    """
    moments: list[float] = []
    for entry in evidence:
        if not entry.get("time"):
            continue
        links = [(view.get("primary") or {}) for view in (entry.get("nodes") or {}).values()]
        down = [link.get("link_down_s") for link in links if link.get("link_up") is False]
        moments += [entry["time"] - seconds for seconds in down if seconds is not None and seconds >= 0]
        units = (entry.get("units") or {}).values()
        moments += [unit["since"] for unit in units if unit.get("active", "active") != "active" and unit.get("since")]
    return min(moments, default=None)
