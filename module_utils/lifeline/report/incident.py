# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The record of one recovery: when it began, what it was, each step and how long it took, what it cost, what is left.

``incident`` makes the record out of what the run knows; the pages show it. Times are seconds since 1970.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional, Sequence

from ..common.facts import Facts, clean_text
from ..common.version import VERSION
from ..common.words import moment
from ..plan.remedies import title
from . import html, markdown

# Of the record's own format.
FORMAT = 1

# Log lines from so long before the trouble that shows, in seconds, belong to the story too.
PRELUDE = 120.0

# Entries of the timeline at the most.
ENTRIES = 200


def incident(run: Mapping[str, Any]) -> dict[str, Any]:
    """The record, as plain data.

    ``run``: ``{estate, run, who, started, ended, proven_at, first, last, evidence, steps, lines}``. ``first`` and
    ``last`` are diagnoses, ``evidence`` the first look's documents, ``steps`` ``[{remedy, host, why, began, ended,
    failed}]``, ``lines`` what the terminal said at the end. ``rto_s`` is the time from the first sign of trouble to the
    first write that was proven, null where either is unknown.
    """
    said = Facts(run)
    first, last = said.sub("first"), said.sub("last")
    began, proven = first.maybe_number("outage_began"), said.maybe_number("proven_at")
    return {
        "version": FORMAT,
        "lifeline": VERSION,
        "estate": said.text("estate"),
        "run": said.text("run"),
        "who": said.text("who"),
        "began": began,
        "started": said.number("started"),
        "proven_at": proven,
        "ended": said.number("ended"),
        "rto_s": round(proven - began, 1) if began and proven and proven >= began else None,
        "verdict_before": first.text("verdict"),
        "verdict_after": last.text("verdict"),
        "summary": first.text("summary"),
        "primary_before": _primary(first),
        "primary_after": _primary(last),
        "causes": [_cause(finding) for finding in first.rows("findings")],
        "possible_loss": first.text("plan.loss") or None,
        "steps": [_step(step, last.sub("plan").texts("unhelped")) for step in said.rows("steps")],
        "outcome": said.texts("lines"),
        "left": last.sub("plan").texts("todo"),
        "timeline": timeline(run, began),
    }


def _primary(diagnosis: Facts) -> str:
    return diagnosis.text("primary.name") or diagnosis.text("topology.last_primary")


def _cause(finding: Facts) -> dict[str, Any]:
    names = ("id", "fault", "title", "where", "severity", "sure", "at_risk")
    return {**{name: finding.text(name) for name in names}, "evidence": finding.texts("evidence")}


def _step(step: Facts, unhelped: Sequence[str]) -> dict[str, Any]:
    return {
        "remedy": step.text("remedy"),
        "title": title(step.text("remedy")),
        "host": step.text("host"),
        "why": step.text("why"),
        "began": step.number("began"),
        "seconds": round(max(0.0, step.number("ended") - step.number("began")), 1),
        "failed": step.text("failed"),
        "helped": f"{step.text('remedy')}@{step.text('host')}" not in unhelped,
    }


def timeline(run: Mapping[str, Any], began: Optional[float]) -> list[dict[str, Any]]:
    """``[{at, where, what}]`` in order: what the logs say from shortly before the trouble on, and what the run did."""
    said = Facts(run)
    since = (began or said.number("started")) - PRELUDE
    entries = [entry for host in said.rows("evidence") for entry in _logged(host) if entry["at"] >= since]
    if began:
        entries.append({"at": began, "where": said.text("estate"), "what": "first sign of the trouble that shows"})
    entries.append({"at": said.number("started"), "where": "control node", "what": "recover.yml started"})
    for step in said.rows("steps"):
        entries.append(
            {
                "at": step.number("began"),
                "where": step.text("host"),
                "what": f"{title(step.text('remedy'))}: {step.text('failed') or step.text('why')}",
            }
        )
    if said.maybe_number("proven_at"):
        entries.append({"at": said.number("proven_at"), "where": "applications", "what": "a write was taken again"})
    entries.append({"at": said.number("ended"), "where": "control node", "what": "recover.yml ended"})
    return sorted(entries, key=lambda entry: entry["at"])[:ENTRIES]


def _logged(host: Facts) -> Iterable[dict[str, Any]]:
    name = host.text("host")
    for source, log in host.named("logs"):
        for _group, found in log.named("groups"):
            times = f" ({found.count('count')} times)" if found.count("count") > 1 else ""
            yield {"at": found.number("first"), "where": f"{name} {source}", "what": f"{found.text('sample')}{times}"}


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    rto = record["rto_s"]
    return [
        ("Run by", str(record["who"])),
        ("First sign of trouble", moment(record["began"])),
        ("recover.yml started", moment(record["started"])),
        ("First proven write", moment(record["proven_at"])),
        ("Recovery time", f"{rto} s from the first sign to the first proven write" if rto is not None else "unknown"),
        ("Primary before", str(record["primary_before"] or "none")),
        ("Primary after", str(record["primary_after"] or "none")),
        ("Possible loss", str(record["possible_loss"] or "none known")),
    ]


def _step_line(step: Mapping[str, Any]) -> str:
    what = f"{step['title']} (on {step['host']}, {step['seconds']} s): {step['why']}"
    if step["failed"]:
        return f"{what}; failed: {step['failed']}"
    return what if step["helped"] else f"{what}; did not help"


def incident_markdown(record: Mapping[str, Any]) -> str:
    """The record for a ticket."""
    text = markdown.escaped
    sections: list[tuple[str, Sequence[str]]] = [
        ("What it was", [f"{cause['title']} ({cause['where']}, {cause['severity']})" for cause in record["causes"]]),
        ("What was done", [_step_line(step) for step in record["steps"]]),
        ("How it ended", record["outcome"]),
        ("What is left for you", record["left"]),
        ("Timeline", [f"{moment(e['at'])} {e['where']}: {e['what']}" for e in record["timeline"]]),
    ]
    parts = [
        f"# Incident: estate {text(record['estate'])}",
        f"{text(record['summary'])}.",
        "\n".join(f"- {label}: {text(value)}" for label, value in _facts(record)),
    ]
    for heading, lines in sections:
        parts.append(f"## {heading}\n\n" + ("\n".join(f"- {text(line)}" for line in lines) or "Nothing."))
    return "\n\n".join(parts) + "\n"


def incident_page(record: Mapping[str, Any]) -> str:
    """The record as one page that needs nothing else."""
    text = html.escaped
    rows = "".join(
        f"<tr><td>{text(moment(entry['at']))}</td><td>{text(entry['where'])}</td><td>{text(entry['what'])}</td></tr>"
        for entry in record["timeline"]
    )
    tone = {"healthy": "ok", "impaired": "warn"}.get(str(record["verdict_after"]), "bad")
    facts = "".join(f"<dt>{text(label)}</dt><dd>{text(value)}</dd>" for label, value in _facts(record))
    body = (
        f'<header class="lead {tone}"><h1><span class="tag">{text(record["verdict_after"] or "unknown")}</span>'
        f"Incident: estate {text(record['estate'])}</h1><p>{text(record['summary'])}.</p><dl>{facts}</dl></header>"
        + _section("What it was", [f"{cause['title']} ({cause['where']})" for cause in record["causes"]])
        + _section("What was done", [_step_line(step) for step in record["steps"]])
        + _section("How it ended", record["outcome"])
        + _section("What is left for you", record["left"])
        + '<h2>Timeline</h2><div class="scroll"><table>'
        f"<thead><tr><th>When</th><th>Where</th><th>What</th></tr></thead><tbody>{rows}</tbody></table></div>"
        + "<footer>Written by Lifeline's recover.yml. The folders before and after beside this page hold the diagnosis "
        "and the evidence from before and after the recovery.</footer>"
    )
    return html.page(f"Incident: estate {clean_text(str(record['estate']))}", body)


def _section(heading: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escaped(line)}</li>" for line in lines)
    return f"<h2>{html.escaped(heading)}</h2>" + (f"<ul>{items}</ul>" if items else "<p>Nothing.</p>")
