# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From all hosts' posture to one report: which controls an estate keeps, and which it does not.

Pure and linear, but for ``work``, which writes the report's files. Whatever the evidence holds, a report comes out: a
check that cannot be made is an error in it, never a pass.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Iterable, Mapping, Optional, Sequence

from ..common.facts import Facts, clean_text
from ..common.version import VERSION
from ..diagnose import evidence as documents
from ..diagnose.case import Case
from . import waivers as agreements
from .controls.base import (  # fmt: skip
    APPLICATION,
    ERROR,
    ESTATE,
    FAIL,
    HOST,
    MANUAL,
    NOT_APPLICABLE,
    PASS,
    SENTINEL,
    SERVER,
    SEVERITIES,
    STATUSES,
    WAIVED,
    Control,
    NotSeenError,
    Outcome,
    Subject,
)
from .controls.catalogue import CATALOGUE

REPORT_KIND = "lifeline-compliance"
REPORT_VERSION = 1
NEVER = "never"
FORMATS = ("json", "junit", "sarif", "prometheus", "markdown", "html")

# Options of the module redis_compliance.
OPTIONS: dict[str, Any] = {
    "service": {"type": "str", "required": True},
    "evidence": {"type": "list", "elements": "dict", "required": True},
    "nodes": {"type": "list", "elements": "dict", "required": True},
    "sentinels": {"type": "list", "elements": "dict", "default": []},
    "applications": {"type": "list", "elements": "str", "default": []},
    "quorum": {"type": "int", "default": 0},
    "policy": {"type": "dict", "default": {}},
    "intent": {"type": "dict", "default": {}},
    "waivers": {"type": "list", "elements": "raw", "default": []},
    "fail_on": {"type": "str", "choices": [*SEVERITIES, NEVER], "default": "high"},
    "controls": {"type": "list", "elements": "str", "default": []},
    "report_dir": {"type": "path"},
    "formats": {"type": "list", "elements": "str", "default": [*FORMATS], "choices": [*FORMATS]},
    "keep": {"type": "int", "default": 30},
}  # fmt: skip

_ABSENT = {
    SERVER: "the inventory has no server in this estate",
    SENTINEL: "the inventory has no sentinel in this estate",
    HOST: "the inventory has no server or sentinel in this estate",
    APPLICATION: "the inventory has no application host in this estate",
}


def assess(estate: Mapping[str, Any], now: Optional[float] = None) -> dict[str, Any]:
    """The report about one estate; ``estate`` has the module's options. ``now``: seconds since 1970.

    ``{kind, version, lifeline, time, service, hosts, controls, results, summary, expired_waivers, waivers, verdict}``.
    A result is ``{control, severity, where, status, evidence, waiver}``. Raises LifelineError for waivers that cannot
    be read.
    """
    moment = time.time() if now is None else now
    chosen = _chosen(estate.get("controls") or ())
    waivers = agreements.parse(estate.get("waivers") or (), [control.id for control in CATALOGUE])
    case = Case.build(
        documents.clean(estate.get("evidence") or ()),
        documents.members(estate.get("nodes")),
        documents.members(estate.get("sentinels")),
        str(estate.get("service", "")),
        int(estate.get("quorum") or 0),
        [str(name) for name in estate.get("applications") or ()],
    )
    policy = Facts(estate.get("policy") or {})
    intents = {str(name): Facts(intent) for name, intent in (estate.get("intent") or {}).items()}
    results = evaluate(case, chosen, policy, intents)
    for result in results:
        _waive(result, waivers, moment)
    expired = [waiver.as_dict() for waiver in waivers if waiver.expired(moment)]
    report = {
        "kind": REPORT_KIND,
        "version": REPORT_VERSION,
        "lifeline": VERSION,
        "time": round(moment, 3),
        "service": case.service,
        "hosts": sorted({*case.hosts, *(str(result["where"]) for result in results)} - {case.service}),
        "controls": [_described(control) for control in chosen],
        "results": results,
        "summary": summary(results),
        "waivers": [waiver.as_dict() for waiver in waivers],
        "expired_waivers": expired,
    }
    return {**report, "verdict": verdict(results, expired, str(estate.get("fail_on") or "high"))}


def _chosen(wanted: Sequence[Any]) -> list[Control]:
    return [control for control in CATALOGUE if not wanted or control.id in wanted]


def _described(control: Control) -> dict[str, Any]:
    names = ("id", "title", "severity", "scope", "why", "fix", "reference", "repairs")
    return {name: getattr(control, name) for name in names}


def evaluate(
    case: Case, controls: Iterable[Control], policy: Facts, intents: Mapping[str, Facts]
) -> list[dict[str, Any]]:
    """One result for each control and subject of its scope."""
    subjects = _subjects(case, policy, intents)
    results = []
    for control in controls:
        asked = subjects[control.scope]
        if not asked:
            results.append(_result(control, case.service, NOT_APPLICABLE, [_ABSENT.get(control.scope, "")]))
        for subject in asked:
            outcome = _ask(control, subject)
            results.append(_result(control, subject.name, outcome.status, outcome.lines))
    return results


def _ask(control: Control, subject: Subject) -> Outcome:
    try:
        return control.check(subject)
    except NotSeenError as error:
        if _is_the_providers(subject, str(error)):
            return Outcome(NOT_APPLICABLE, (f"{subject.name} is only a URL: its host is its provider's ({error})",))
        return Outcome(ERROR, (str(error),))
    except Exception as error:  # noqa: BLE001 - evidence may be anything; what cannot be checked is an error, not a pass
        return Outcome(ERROR, (f"the check failed on this evidence: {type(error).__name__}: {error}"[:200],))


def _is_the_providers(subject: Subject, unseen: str) -> bool:
    """Whether what was not seen lies on the host of a server that is only a URL, which answered through that."""
    if subject.server is None or not subject.server.node.managed or not subject.server.alive:
        return False
    return unseen.startswith(f"{subject.name}.posture.") and not unseen.startswith(f"{subject.name}.posture.redis")


def _result(control: Control, where: str, status: str, lines: Sequence[str]) -> dict[str, Any]:
    return {
        "control": control.id,
        "severity": control.severity,
        "where": where,
        "status": status,
        "evidence": [clean_text(line) for line in lines],
        "waiver": None,
    }


def _subjects(case: Case, policy: Facts, intents: Mapping[str, Facts]) -> dict[str, list[Subject]]:
    def subject(name: str, **roles: Any) -> Subject:
        return Subject(name, case, intents.get(name, Facts({})), policy, intents=intents, **roles)

    servers = {server.name: server for server in case.servers}
    watchers = {watcher.name: watcher for watcher in case.watchers}

    def member(name: str) -> Subject:
        return subject(name, host=case.hosts.get(name), server=servers.get(name), watcher=watchers.get(name))

    return {
        ESTATE: [subject(case.service)],
        SERVER: [member(name) for name in servers],
        SENTINEL: [member(name) for name in watchers],
        HOST: [member(name) for name in {**servers, **watchers}],
        APPLICATION: [subject(name, host=case.hosts.get(name)) for name in case.applications],
    }


def _waive(result: dict[str, Any], waivers: Sequence[agreements.Waiver], now: float) -> None:
    """A failure or an open question that somebody answers for. An error stays: nobody looked."""
    if result["status"] not in (FAIL, MANUAL):
        return
    waiver = agreements.for_result(waivers, result["control"], result["where"], now)
    if waiver is None:
        return
    result["waiver"] = waiver.as_dict()
    if waiver.expired(now):
        result["evidence"].append(f"its waiver expired on {waiver.expires} (owner: {waiver.owner})")
    else:
        result["status"] = WAIVED


def summary(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``{status: count}``, the same by severity and by host, and ``score``: percent passed of those that count."""
    rows = list(results)
    counts = Counter(row["status"] for row in rows)
    judged = counts[PASS] + counts[FAIL] + counts[ERROR] + counts[WAIVED]
    return {
        "total": len(rows),
        "by_status": {status: counts[status] for status in STATUSES},
        "by_severity": _grouped(rows, "severity", SEVERITIES),
        "by_host": _grouped(rows, "where", sorted({row["where"] for row in rows})),
        "score": round(100.0 * counts[PASS] / judged, 1) if judged else 0.0,
    }


def _grouped(rows: Sequence[Mapping[str, Any]], key: str, names: Iterable[str]) -> dict[str, dict[str, int]]:
    counts = Counter((row[key], row["status"]) for row in rows)
    return {name: {status: counts[(name, status)] for status in STATUSES} for name in names}


def verdict(results: Iterable[Mapping[str, Any]], expired: Sequence[Mapping[str, Any]], fail_on: str) -> dict[str, Any]:
    """``{compliant, reasons, fail_on}``. What could not be looked at counts like a failure."""
    grave = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on in SEVERITIES else ()
    bad = [row for row in results if row["status"] in (FAIL, ERROR) and row["severity"] in grave]
    counts = Counter((row["status"], row["severity"]) for row in bad)
    reasons = [
        f"{counts[(status, severity)]} of severity {severity} {word}"
        for severity in grave
        for status, word in ((FAIL, "failed"), (ERROR, "could not be looked at"))
        if counts[(status, severity)]
    ]
    reasons += [f"the waiver of {waiver['control']} expired on {waiver['expires']} (owner: {waiver['owner']})"
                for waiver in expired]  # fmt: skip
    return {"compliant": not reasons, "reasons": reasons, "fail_on": fail_on}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """``{time, new, repaired, score}``: what the previous report said otherwise, as ``[{control, where, was, is}]``."""

    def statuses(report: Mapping[str, Any]) -> dict[tuple[str, str], str]:
        rows = report.get("results")
        return {(str(row.get("control")), str(row.get("where"))): str(row.get("status")) for row in rows
                if isinstance(row, Mapping)} if isinstance(rows, list) else {}  # fmt: skip

    was, now = statuses(before), statuses(after)
    moved = [
        {"control": control, "where": where, "was": was[(control, where)], "is": status}
        for (control, where), status in now.items()
        if (control, where) in was and was[(control, where)] != status
    ]
    bad = (FAIL, ERROR)
    return {
        "time": Facts(before).number("time"),
        "score": Facts(before).number("summary.score"),
        "new": [row for row in moved if row["is"] in bad],
        "repaired": [row for row in moved if row["was"] in bad and row["is"] == PASS],
    }
