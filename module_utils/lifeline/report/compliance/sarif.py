# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SARIF 2.1.0: for code scanning and security dashboards. A control is a rule, a host a logical location."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping

from .words import stamp

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"high": "error", "medium": "warning", "low": "note"}
# What GitHub and others sort by: the severity as a number of 0 to 10.
SCORES = {"high": "8.0", "medium": "5.0", "low": "2.0"}
KINDS = {"pass": "pass", "fail": "fail", "error": "review", "manual": "review", "not_applicable": "notApplicable",
         "waived": "fail"}  # fmt: skip


def render(report: Mapping[str, Any]) -> str:
    """The log with one run."""
    rules = [_rule(control) for control in report["controls"]]
    places = {rule["id"]: place for place, rule in enumerate(rules)}
    run = {
        "tool": {"driver": {"name": "Lifeline compliance", "semanticVersion": report["lifeline"], "rules": rules}},
        "automationDetails": {"id": f"lifeline-compliance/{report['service']}/"},
        "invocations": [{"executionSuccessful": True, "endTimeUtc": stamp(report["time"])}],
        "columnKind": "unicodeCodePoints",
        "results": [_result(row, places, report["service"]) for row in report["results"]],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _rule(control: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": control["id"],
        "name": control["id"].replace("-", ""),
        "shortDescription": {"text": control["title"]},
        "fullDescription": {"text": f"{control['title']}. {control['why']}"},
        "help": {"text": f"{control['fix']} ({control['reference']})"},
        "defaultConfiguration": {"level": LEVELS[control["severity"]]},
        "properties": {"security-severity": SCORES[control["severity"]], "tags": ["security", "redis", "compliance"]},
    }


def _result(row: Mapping[str, Any], places: Mapping[str, int], service: str) -> dict[str, Any]:
    kind = KINDS[row["status"]]
    found: dict[str, Any] = {
        "ruleId": row["control"],
        "ruleIndex": places[row["control"]],
        "kind": kind,
        "level": LEVELS[row["severity"]] if kind == "fail" else "none",
        "message": {"text": f"{row['where']}: {'; '.join(row['evidence']) or row['status']}"},
        "locations": [
            {
                # Viewers of code want a file; the host's name stands for one.
                "physicalLocation": {"artifactLocation": {"uri": f"hosts/{_uri(row['where'])}"}},
                "logicalLocations": [
                    {"name": row["where"], "fullyQualifiedName": f"{service}/{row['where']}", "kind": "resource"}
                ],
            }
        ],
        "partialFingerprints": {"control/v1": _print(service, row["control"], row["where"])},
    }
    if row["status"] == "waived" and row["waiver"]:
        waiver = row["waiver"]
        text = f"{waiver['reason']} (owner: {waiver['owner']}, until {waiver['expires']})"
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": text}]
    return found


def _uri(name: str) -> str:
    return "".join(char if (char.isalnum() and char.isascii()) or char in "-._~" else "_" for char in name)


def _print(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]
