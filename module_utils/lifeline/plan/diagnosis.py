# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From all hosts' evidence to one diagnosis: which outage it is, how we know, what is at risk, what to do.

Pure and linear: every cause looks at the case once, then consequences go under their cause.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ..common.facts import Facts, clean_text
from ..common.words import lower, names
from ..diagnose import evidence as documents
from ..diagnose.case import FRESH_S, Case
from ..diagnose.causes.base import INFO
from ..diagnose.findings import ORDER, Finding, began, explain, found, promoted_at, see
from ..diagnose.topology import BLIND, agreement
from ..diagnose.viewpoints import parties
from .aftermath import recall
from .primary import settle
from .recovery import make_plan
from .steps import LOSS_LIMIT, Accepted, Terms

DIAGNOSIS_VERSION = 1

# Sections that hosts could not look at, of all hosts.
MOST_UNSEEN = 100

# A diagnosis' verdict:
HEALTHY = "healthy"  # nothing worse than a note
IMPAIRED = "impaired"  # in service, without its safety margin
DOWN = "down"  # out of service, or about to lose data
BLIND_VERDICT = "blind"  # nobody could look

# The worst first.
VERDICTS = (DOWN, BLIND_VERDICT, IMPAIRED, HEALTHY)


@dataclass
class Diagnosis:
    """What ``redis_diagnose`` returns, as plain data by ``as_dict``.

    ``outage_began``: when the trouble that shows began; ``promoted_at``: when a replica last became a primary, by the
    logs. Both are seconds since 1970, None where nothing tells. ``parties``: who says what of whom (``parties.py``).
    ``unjudged``: ids of causes that could not be judged, which is a fault of Lifeline's. ``unseen``: what hosts could
    not look at in time, and why: nothing found there is no proof that nothing is there.
    """

    version: int
    service: str
    verdict: str
    summary: str
    primary: Optional[dict[str, Any]]
    findings: list[dict[str, Any]]
    plan: dict[str, Any]
    topology: dict[str, Any]
    outage_began: Optional[float]
    promoted_at: Optional[float]
    parties: dict[str, Any] = field(default_factory=dict)
    unjudged: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports and for Ansible."""
        return dict(vars(self))


def diagnose(estate: Mapping[str, Any]) -> dict[str, Any]:
    """The diagnosis of one estate of a bundle (``evidence.py``).

    Whatever the documents hold, it returns; see ``Diagnosis`` for what.
    """
    said = Facts(estate)
    case = Case.build(
        documents.clean(estate.get("evidence")),
        documents.members(estate.get("nodes")),
        documents.members(estate.get("sentinels")),
        said.text("service"),
        said.count("quorum"),
        said.texts("applications"),
        said.texts("unasked"),
        said.sub("silent"),
    )
    case.fresh_s = said.number("fresh", FRESH_S)
    sightings, unjudged = see(case)
    explain(sightings)
    findings = found(sightings)
    findings.sort(key=lambda finding: (ORDER[finding.severity], finding.unknown))
    accepted = Accepted(frozenset(said.texts("accept_data_loss")), said.count("accept_data_loss_bytes", LOSS_LIMIT))
    topology = settle(case.topology, accepted)
    terms = Terms(
        announced=None if estate.get("announced") is None else said.texts("announced"),
        agreed=said.texts("agreed"),
        before={} if said.flag("again") else recall(estate.get("memory_dir"), case.service),
        silent={host: clean_text(str(why)) for host, why in said.sub("silent").plain.items()},
    )
    plan = make_plan(topology, findings, said.texts("tried"), accepted, terms)
    verdict = _verdict(case, findings)
    return Diagnosis(
        version=DIAGNOSIS_VERSION,
        service=case.service,
        verdict=verdict,
        summary=_summary(case, verdict, findings),
        primary=topology.endpoint,
        findings=[finding.as_dict() for finding in findings],
        plan=plan.as_dict(),
        topology=topology.as_dict(),
        outage_began=began(case),
        promoted_at=promoted_at(case),
        parties=parties(case),
        unjudged=unjudged,
        unseen=_unseen(case),
    ).as_dict()


def _unseen(case: Case) -> list[str]:
    found = []
    for name, host in case.hosts.items():
        told = host.section("errors")
        found += [f"{name}: {clean_text(str(section))} ({told.text(str(section))})" for section in told.plain]
    return found[:MOST_UNSEEN]


def plan_from_evidence(
    evidence: Sequence[Mapping[str, Any]],
    nodes: Sequence[Mapping[str, Any]],
    sentinels: Sequence[Mapping[str, Any]],
    service: str,
    quorum: int = 0,
) -> dict[str, Any]:
    """The diagnosis for roles, which have its parts in variables of their own."""
    estate = {"evidence": evidence, "nodes": nodes, "sentinels": sentinels, "service": service, "quorum": quorum}
    return diagnose(estate)


def _verdict(case: Case, findings: Sequence[Finding]) -> str:
    if case.topology.state == BLIND:
        return BLIND_VERDICT
    worst = min((ORDER[finding.severity] for finding in findings), default=ORDER[INFO])
    return {0: DOWN, 1: IMPAIRED}.get(worst, HEALTHY)


def _summary(case: Case, verdict: str, findings: Sequence[Finding]) -> str:
    if verdict == BLIND_VERDICT:
        return f"nobody could look: {'; '.join(case.topology.reasons)}"
    if verdict == HEALTHY:
        return agreement(case.topology)
    first = findings[0]
    kinds = list(dict.fromkeys((item.severity, item.id) for item in findings if item.severity != INFO))
    places = list(dict.fromkeys(item.where for item in findings if (item.severity, item.id) == kinds[0]))
    also = f", and {len(kinds) - 1} more" if len(kinds) > 1 else ""
    return f"{'unknown fault: ' if first.unknown else ''}{lower(first.title)} ({names(places)}){also}"
