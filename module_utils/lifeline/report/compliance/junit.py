# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JUnit XML: one suite a host, one case a control."""

from __future__ import annotations

from typing import Any, Mapping
from xml.sax.saxutils import escape, quoteattr

from .words import controls, stamp


def render(report: Mapping[str, Any]) -> str:
    """For CI servers. A waived, manual or not applicable control is a skipped case."""
    known = controls(report)
    by_host: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["results"]:
        by_host.setdefault(row["where"], []).append(row)
    suites = [_suite(report, where, rows, known) for where, rows in sorted(by_host.items())]
    head = f"<testsuites name={_attribute('compliance ' + report['service'])} {_counts(report['results'])}>"
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *suites, "</testsuites>", ""])


def _counts(rows: list[Mapping[str, Any]]) -> str:
    tally = {status: sum(row["status"] == status for row in rows) for status in ("fail", "error")}
    return (
        f'tests="{len(rows)}" failures="{tally["fail"]}" errors="{tally["error"]}" skipped="{_skipped(rows)}" time="0"'
    )


def _skipped(rows: list[Mapping[str, Any]]) -> int:
    return sum(row["status"] in ("waived", "manual", "not_applicable") for row in rows)


def _suite(report: Mapping[str, Any], where: str, rows: list[Mapping[str, Any]], known: Mapping[str, Any]) -> str:
    head = f'<testsuite name={_attribute(where)} {_counts(rows)} timestamp="{stamp(report["time"])[:-1]}">'
    return "\n".join([head, *(_case(row, known[row["control"]]) for row in rows), "</testsuite>"])


def _case(row: Mapping[str, Any], control: Mapping[str, Any]) -> str:
    name = _attribute(f"{row['control']} {control['title']}")
    head = f'<testcase classname={_attribute("compliance." + row["where"])} name={name} time="0"'
    text = "\n".join(row["evidence"])
    if row["status"] in ("fail", "error"):
        tag = "failure" if row["status"] == "fail" else "error"
        body = f"{text}\nWhy: {control['why']}\nFix: {control['fix']}"
        first = row["evidence"][0] if row["evidence"] else control["title"]
        kind = _attribute(row["severity"])
        return f"{head}><{tag} message={_attribute(first)} type={kind}>{_text(body)}</{tag}></testcase>"
    if row["status"] == "pass":
        return f"{head}><system-out>{_text(text)}</system-out></testcase>"
    reason = row["status"].replace("_", " ")
    if row["waiver"] and row["status"] == "waived":
        reason = f"waived until {row['waiver']['expires']} by {row['waiver']['owner']}: {row['waiver']['reason']}"
    return f"{head}><skipped message={_attribute(reason)}/><system-out>{_text(text)}</system-out></testcase>"


def _clean(text: str) -> str:
    """XML 1.0 knows no other control characters, escaped or not."""
    return "".join(char for char in text if char in "\t\n\r" or (char >= " " and char not in "\ufffe\uffff"
                   and not "\ud800" <= char <= "\udfff"))  # fmt: skip


def _text(text: str) -> str:
    return escape(_clean(text))


def _attribute(text: str) -> str:
    return quoteattr(_clean(text))
