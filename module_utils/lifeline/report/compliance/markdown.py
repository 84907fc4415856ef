# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Markdown: for a ticket or a merge request."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ..markdown import escaped
from .words import SEVERITY_ORDER, WORDS, controls, counted, headline, moment, ordered


def render(report: Mapping[str, Any]) -> str:
    """What needs somebody's attention in full, what passed as a list."""
    known, said = controls(report), report["summary"]
    lines = [f"# Compliance of estate {_cell(report['service'])}", "", f"**{_cell(headline(report))}**", "",
             f"{moment(report['time'])}. Score {said['score']} %: {counted(said['by_status'])}.", ""]  # fmt: skip
    lines += _trend(report)
    lines += ["| Severity | " + " | ".join(WORDS.values()) + " |", "| --- |" + " ---: |" * len(WORDS)]
    for severity in SEVERITY_ORDER:
        counts = said["by_severity"][severity]
        lines.append(f"| {severity} | " + " | ".join(str(counts[name]) for name in WORDS) + " |")
    lines += ["", "| Host | " + " | ".join(WORDS.values()) + " |", "| --- |" + " ---: |" * len(WORDS)]
    for where, counts in said["by_host"].items():
        lines.append(f"| {_cell(where)} | " + " | ".join(str(counts[name]) for name in WORDS) + " |")
    for status, title in (
        ("fail", "Failed"),
        ("error", "Not looked at"),
        ("waived", "Waived"),
        ("manual", "For a person"),
    ):
        rows = [row for row in ordered(report["results"]) if row["status"] == status]
        lines += ["", f"## {title}", ""] if rows else []
        lines += _rows(rows, known)
    passed = sorted({row["control"] for row in report["results"]} - {row["control"] for row in report["results"]
                    if row["status"] in ("fail", "error", "waived", "manual")})  # fmt: skip
    lines += ["", "## Passed everywhere, or not applicable", "", ", ".join(passed) or "None.", ""]
    return "\n".join(lines)


def _trend(report: Mapping[str, Any]) -> list[str]:
    previous = report.get("previous")
    if not previous:
        return []
    moved = f"{len(previous['new'])} new, {len(previous['repaired'])} repaired"
    lines = [f"Since {moment(previous['time'])} (score {previous['score']:g} %): {moved}.", ""]
    for word, rows in (("New", previous["new"]), ("Repaired", previous["repaired"])):
        lines += [f"- {word}: {row['control']} on {_cell(row['where'])} ({WORDS.get(row['was'], row['was'])} before)"
                  for row in rows]  # fmt: skip
    return [*lines, ""] if previous["new"] or previous["repaired"] else lines


def _rows(rows: Iterable[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines: list[str] = []
    last = ""
    for row in sorted(rows, key=lambda row: (SEVERITY_ORDER[row["severity"]], row["control"], row["where"])):
        control = known[row["control"]]
        if row["control"] != last:
            lines += ["", f"### {row['control']} {_cell(control['title'])} ({control['severity']})", "",
                      f"{_cell(control['why'])} Fix: {_cell(control['fix'])}", ""]  # fmt: skip
            last = row["control"]
        waiver = row["waiver"]
        note = f" (waived until {waiver['expires']} by {_cell(waiver['owner'])}: {_cell(waiver['reason'])})" if (
            waiver and row["status"] == "waived") else ""  # fmt: skip
        lines.append(f"- {_cell(row['where'])}: {_cell('; '.join(row['evidence']))}{note}")
    return lines


def _cell(text: str) -> str:
    """Text that Markdown, or a forge that links addresses, names and numbers, shows as it is."""
    return escaped(" ".join(text.split()))
