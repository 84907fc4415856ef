# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The terminal: the answer and what needs attention."""

from __future__ import annotations

from typing import Any, Mapping

from .words import WORDS, controls, counted, headline, ordered


def lines(report: Mapping[str, Any], reports: Any = ()) -> list[str]:
    """For Ansible's debug."""
    known, said = controls(report), report["summary"]
    found = [headline(report), f"Score {said['score']} %: {counted(said['by_status'])}."]
    previous = report.get("previous")
    if previous:
        found.append(f"Since the last run: {len(previous['new'])} new, {len(previous['repaired'])} repaired.")
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in ordered(report["results"]):
        if row["status"] in ("fail", "error", "waived", "manual"):
            groups.setdefault((row["status"], row["control"]), []).append(row)
    for (status, control), rows in groups.items():
        where = ", ".join(row["where"] for row in rows)
        first = rows[0]["evidence"][0] if rows[0]["evidence"] else ""
        found.append(
            f"{WORDS[status]}: {control} ({known[control]['severity']}) {known[control]['title']} [{where}]: {first}"
        )
        if status == "fail":
            found.append(f"    fix: {known[control]['fix']}")
    return [*found, *(f"Report: {path}" for path in reports if str(path).endswith(".html"))]
