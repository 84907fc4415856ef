# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Words and orders that the forms of a report share."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Iterable, Mapping

WORDS = {
    "pass": "passed",
    "fail": "failed",
    "error": "not looked at",
    "not_applicable": "not applicable",
    "waived": "waived",
    "manual": "for a person",
}
STATUS_ORDER = {
    name: place for place, name in enumerate(("fail", "error", "waived", "manual", "pass", "not_applicable"))
}
SEVERITY_ORDER = {"high": 0, "medium": 1, "low": 2}


def moment(seconds: float) -> str:
    """A time in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def stamp(seconds: float) -> str:
    """A time as ISO 8601 has it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def ordered(results: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Worst first."""
    return sorted(results, key=lambda row: (STATUS_ORDER.get(row["status"], 9), SEVERITY_ORDER.get(row["severity"], 9),
                                            row["control"], row["where"]))  # fmt: skip


def controls(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Controls of a report by id."""
    return {control["id"]: control for control in report["controls"]}


def headline(report: Mapping[str, Any]) -> str:
    """The answer in one line."""
    said = report["verdict"]
    answer = "compliant" if said["compliant"] else f"not compliant: {'; '.join(said['reasons'])}"
    return f"Estate {report['service']} is {answer}."


def counted(counts: Mapping[str, int]) -> str:
    """``2 failed, 160 passed``, without zeros."""
    return ", ".join(f"{counts[name]} {WORDS[name]}" for name in STATUS_ORDER if counts.get(name)) or "nothing"
