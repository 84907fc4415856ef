#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write docs/faults.md from the catalogue of causes, the injectors and what the last ``make faults`` made of them.

``tests/faults/results.json`` holds ``{faults: {NAME: {...}}, healthy: {...}}``, the newest outcome of each fault; it is
written by ``tests/faults/run.py --record``. ``--check`` writes nothing, and fails when the page is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pages import settle

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "faults"))
sys.path.insert(0, str(ROOT / "module_utils"))

RESULTS = ROOT / "tests" / "faults" / "results.json"
PAGE = ROOT / "docs" / "faults.md"

HEAD = """# Faults that Lifeline names

Written by `make docs` from the catalogue in `module_utils/lifeline/diagnose/causes/`; change it there.
How to read a diagnosis is in [diagnosis.md](diagnosis.md).

Numbers (F01 ...) are those of the fault catalogue that the causes were made from. *Severity* is what a cause has by
itself: critical is out of service or about to lose data, a warning is in service without its safety margin, info does
not fail diagnose.yml; a fault of the only primary is graded up. *Tested* says how: brought about on real hosts of the
lab and named in so many seconds, from the start of diagnose.yml to its end, on a machine with other work; or a fixture,
evidence in a server's own words, where the fault cannot be brought about there.
"""


def results() -> dict[str, Any]:
    """What was recorded so far."""
    empty: dict[str, Any] = {"faults": {}, "healthy": {}}
    return {**empty, **json.loads(RESULTS.read_text())} if RESULTS.exists() else empty


def record(faults: Mapping[str, Mapping[str, Any]], healthy: Mapping[str, Any]) -> None:
    """Put new outcomes in the place of older ones of the same faults."""
    known = results()
    known["faults"].update(faults)
    known["healthy"].update(healthy)
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(known))


def page(known: Mapping[str, Any]) -> str:
    """The whole page."""
    import run  # imports every injector
    from base import FIXTURES
    from lifeline.diagnose.causes.catalogue import CATALOGUE

    injected: dict[str, list[str]] = {}
    for entry in run.FAULTS:
        injected.setdefault(entry.cause, []).append(entry.name)
    tested = {
        cause.id: _tested(injected.get(cause.id, ()), FIXTURES.get(cause.id, ""), known["faults"])
        for cause in CATALOGUE
    }
    families: dict[str, list[Any]] = {}
    for cause in CATALOGUE:
        families.setdefault(cause.family, []).append(cause)
    parts = [HEAD, _summary(CATALOGUE, injected, FIXTURES, known)]
    for family, causes in families.items():
        parts.append(f"## {family.capitalize()}\n")
        parts.append("| Cause | Fault | Severity | Tested |\n|---|---|---|---|")
        parts += [
            f"| [{cause.title}](#{cause.id}) | {cause.fault or '-'} | {cause.severity} | {tested[cause.id]} |"
            for cause in causes
        ]
        parts.append("")
        parts += [_detail(cause) for cause in causes]
    return "\n".join(parts).rstrip() + "\n"


def _summary(
    catalogue: Iterable[Any], injected: Mapping[str, list[str]], fixtures: Mapping[str, str], known: Mapping[str, Any]
) -> str:
    causes = [cause for cause in catalogue if not cause.is_symptom]
    outcomes = {name: row for name, row in known["faults"].items() if any(name in names for names in injected.values())}
    good = sum(_good(row) for row in outcomes.values())
    by_hand = [cause for cause in causes if cause.id in injected]
    rest = [cause.id for cause in causes if cause.id not in injected and cause.id not in fixtures]
    recorded = [cause for cause in causes if cause.id in fixtures and cause.id not in injected]
    lines = [
        f"{len(causes)} causes: {len(by_hand)} can be brought about on the lab, {len(recorded)} have a fixture"
        + (f", {len(rest)} have unit tests only." if rest else "."),
        f"{sum(map(len, injected.values()))} faults are injected; of {len(outcomes)} whose outcome is recorded,",
        f"{good} were named right, and nothing else was.",
    ]
    healthy = known["healthy"]
    if healthy:
        lines.append(
            f"\nA healthy estate under load: {healthy['false_alarms']} false alarms in {healthy['runs']} runs "
            f"({healthy['date']}, Redis {healthy['redis']})."
        )
    return "\n".join(lines) + "\n"


def _good(row: Mapping[str, Any]) -> bool:
    return bool(row["named"] and not row["extra"] and not row["error"])


def _tested(names: Iterable[str], fixture: str, outcomes: Mapping[str, Mapping[str, Any]]) -> str:
    said = [_outcome(name, outcomes.get(name)) for name in names]
    if not said and fixture:
        said = [f"fixture: {fixture}"]
    return "; ".join(said).replace("|", "\\|") or "unit tests"


def _outcome(name: str, row: Mapping[str, Any] | None) -> str:
    variant = name.partition(":")[2]
    label = f"{variant}: " if variant else ""
    if row is None:
        return f"{label}injected, no outcome recorded"
    if _good(row):
        return f"{label}named in {row['seconds']:.1f} s ({row['date']}, Redis {row['redis']})"
    why = "not named" if not row["named"] else f"also said {', '.join(row['extra'])}" if row["extra"] else "not undone"
    return f"{label}**{why}** ({row['date']}, Redis {row['redis']})"


def _detail(cause: Any) -> str:
    lines = [f"### {cause.id}\n\n{cause.title}.\n", f"- At risk: {cause.at_risk}", f"- Do: {cause.remedy}"]
    if cause.avoid and not cause.avoid.startswith("Nothing"):
        lines.append(f"- {cause.avoid}")
    if cause.task:
        lines.append(f"- recover.yml does it: `{cause.task}`.")
    if cause.explains:
        lines.append(f"- It explains: {', '.join(cause.explains)}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(settle(PAGE, page(results())))
