# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JUnit XML: one suite a host, one case a control."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from .words import controls, stamp

Row = Mapping[str, Any]

SKIPPED = ("waived", "manual", "not_applicable")


def render(report: Mapping[str, Any]) -> str:
    """For CI servers. A waived, manual or not applicable control is a skipped case."""
    known = controls(report)
    by_host: dict[str, list[Row]] = {}
    for row in report["results"]:
        by_host.setdefault(row["where"], []).append(row)
    root = _element(None, "testsuites", name=f"compliance {report['service']}", **_counts(report["results"]))
    for where, rows in sorted(by_host.items()):
        moment = stamp(report["time"])[:-1]
        suite = _element(root, "testsuite", name=where, timestamp=moment, **_counts(rows))
        for row in rows:
            _case(suite, row, known[row["control"]])
    indent(root, space="")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _counts(rows: Sequence[Row]) -> dict[str, str]:
    def number(*statuses: str) -> str:
        return str(sum(row["status"] in statuses for row in rows))

    return {
        "tests": str(len(rows)),
        "failures": number("fail"),
        "errors": number("error"),
        "skipped": number(*SKIPPED),
        "time": "0",
    }


def _case(suite: Element, row: Row, control: Mapping[str, Any]) -> None:
    name = f"{row['control']} {control['title']}"
    case = _element(suite, "testcase", classname=f"compliance.{row['where']}", name=name, time="0")
    text = "\n".join(row["evidence"])
    if row["status"] in ("fail", "error"):
        first = row["evidence"][0] if row["evidence"] else control["title"]
        tag = "failure" if row["status"] == "fail" else "error"
        problem = _element(case, tag, message=first, type=row["severity"])
        problem.text = _clean(f"{text}\nWhy: {control['why']}\nFix: {control['fix']}")
        return
    if row["status"] != "pass":
        _element(case, "skipped", message=_reason(row))
    _element(case, "system-out").text = _clean(text)


def _reason(row: Row) -> str:
    waiver = row["waiver"]
    if waiver and row["status"] == "waived":
        return f"waived until {waiver['expires']} by {waiver['owner']}: {waiver['reason']}"
    return str(row["status"]).replace("_", " ")


def _element(parent: Optional[Element], tag: str, **attributes: str) -> Element:
    cleaned = {name: _clean(value) for name, value in attributes.items()}
    return Element(tag, cleaned) if parent is None else SubElement(parent, tag, cleaned)


def _clean(text: str) -> str:
    """XML 1.0 knows no other control characters, escaped or not."""
    return "".join(char for char in text if char in "\t\n\r" or (char >= " " and char not in "\ufffe\uffff"
                   and not "\ud800" <= char <= "\udfff"))  # fmt: skip
