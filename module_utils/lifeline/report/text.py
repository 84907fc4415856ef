# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person reads on the terminal: the plan before, and what happened after."""

from __future__ import annotations

import textwrap
from typing import Any, Mapping, Sequence

from ..common.facts import clean_text
from ..common.words import moment, names
from ..plan.remedies import title
from ..plan.steps import ACT, REFUSED
from . import words

# Columns of a terminal that Ansible's own indentation leaves, and lines of evidence of a finding that are shown there.
WIDTH = 100
SHOWN_EVIDENCE = 5


def plan_text(plan: Mapping[str, Any], estate: str) -> list[str]:
    """The plan as lines: verdict first, then what is wrong, what will be done, what it may cost, what is left to do."""
    lines = [f"Estate {estate}: {plan['summary']}"]
    for finding in plan["findings"]:
        lines.append(f"{finding['severity']}: {finding['title']} ({finding['where']})")
        lines += [f"    {line}" for line in finding["evidence"]]
    lines += [f"step {number}: {step}" for number, step in enumerate(words.steps(plan), 1)]
    lines += _afterwards(plan)
    if plan.get("loss"):
        lines.append(f"possible loss: {plan['loss']}")
    lines += [f"for you: {item}" for item in plan["todo"]]
    return lines


def _afterwards(plan: Mapping[str, Any]) -> list[str]:
    """What may follow the steps without being shown first."""
    shown = {action["remedy"] for action in plan["actions"]}
    more = [title(kind) for kind in plan.get("announced", ()) if kind not in shown]
    if not shown:
        return []
    return [f"afterwards, where needed: {'; '.join(more) or 'nothing'}. Any other step waits for the next run."]


def next_text(plan: Mapping[str, Any], estate: str) -> list[str]:
    """The steps of a later round, before they are done."""
    return [f"Estate {estate}, after another look:", *(f"step: {step}" for step in words.steps(plan))]


RECOVER = "ansible-playbook recover.yml"


def diagnoses_text(diagnoses: Sequence[Mapping[str, Any]], command: str = RECOVER) -> str:
    """Several estates, one after the other, and what to type next."""
    told = [diagnosis_text(diagnosis, diagnosis.get("reports") or ()) for diagnosis in diagnoses]
    return "\n\n".join([*told, "\n".join(to_type(diagnoses, command))])


def to_type(diagnoses: Sequence[Mapping[str, Any]], command: str) -> list[str]:
    """NEXT: the command on a line of its own, and for each estate what it would do."""
    plans = [(str(diagnosis["service"]), diagnosis["plan"]) for diagnosis in diagnoses]
    if not any(plan["verdict"] in (ACT, REFUSED) or plan["todo"] for _estate, plan in plans):
        return ["NEXT: nothing to do."]
    acts = any(plan["verdict"] == ACT for _estate, plan in plans)
    head = ["NEXT:", "", f"  {command}", ""] if acts else ["NEXT:", ""]
    return [*head, *(line for estate, plan in plans for line in _would(estate, plan))]


def _would(estate: str, plan: Mapping[str, Any]) -> list[str]:
    """What recover.yml would do with an estate, and what it leaves to a person."""
    lines = [_wrapped("  ", f"Estate {estate}: recover.yml would do this:")] if plan["actions"] else []
    lines += [_wrapped(f"  {number}. ", step) for number, step in enumerate(words.steps(plan), 1)]
    if plan["verdict"] == REFUSED:
        lines.append(_wrapped("  ", f"Estate {estate}: recover.yml would change nothing. {plan['refusal']}"))
    return lines + [_wrapped("  For you: ", item) for item in plan["todo"]]


def diagnosis_text(diagnosis: Mapping[str, Any], reports: Sequence[str] = ()) -> str:
    """The diagnosis for a terminal at three in the morning: worst first, short, the details in the report's files."""
    lines = [f"Estate {diagnosis['service']} is {diagnosis['verdict'].upper()}: {diagnosis['summary']}."]
    lines += _field("Primary", words.primary(diagnosis))
    lines += _field("Members", words.parties(diagnosis))
    lines += _field("Applications", words.applications(diagnosis))
    lines += _field("Jobs", words.jobs(diagnosis))
    findings = words.grouped(diagnosis["findings"])
    notes = [finding for finding in findings if finding["severity"] == "info"]
    rest = [finding for finding in findings if finding["severity"] != "info"]
    for number, finding in enumerate(rest, 1):
        lines += ["", *_finding(number, finding)]
    if notes:
        lines += ["", *(_wrapped("Note: ", f"{words.heading(note)}: {note['remedy']}") for note in notes)]
    if diagnosis["unjudged"]:
        lines += _field("Not judged", f"{names(diagnosis['unjudged'])}: the evidence is odd; please report it")
    lines += _field("Not seen", words.unseen(diagnosis))
    page = [path for path in reports if path.endswith(".html")] or list(reports[:1])
    if page:
        lines += ["", f"Report: {page[0]}"]
    return "\n".join(lines)


def _finding(number: int, finding: Mapping[str, Any]) -> list[str]:
    lines = [
        _wrapped(f"{number}. {finding['severity'].upper()}  ", f"{words.heading(finding)} [{words.sureness(finding)}]")
    ]
    told = (
        ("at risk", finding["at_risk"]),
        ("do", finding["remedy"]),
        ("do not", words.avoided(finding)),
        ("explains", "; ".join(words.explained(finding))),
    )
    seen = words.shown(finding["evidence"], SHOWN_EVIDENCE)
    lines += [_wrapped(f"   {'' if index else 'seen':<10}", text) for index, text in enumerate(seen)]
    lines += [_wrapped(f"   {label:<10}", text) for label, text in told if text]
    return lines


def _field(label: str, text: str) -> list[str]:
    return [_wrapped(f"{label + ':':<14}", text)] if text else []


def _wrapped(label: str, text: str) -> str:
    return "\n".join(
        textwrap.wrap(
            clean_text(text),
            WIDTH,
            initial_indent=label,
            subsequent_indent=" " * len(label),
            break_on_hyphens=False,
            break_long_words=False,
        )
    )


# By how many seconds the clocks of two hosts may differ, and a failover still be of the outage that began before it.
CLOCKS_S = 30.0

_VERDICTS = {"healthy": "in service", "degraded": "in service, something is left to do"}


def outcome_text(
    estate: str,
    first: Mapping[str, Any],
    last: Mapping[str, Any],
    seconds: float,
    facts: Mapping[str, Any],
) -> list[str]:
    """After the run: what it was, who is primary now, what was done, what is left.

    ``first`` and ``last`` are ``{plan, topology, primary}``; ``facts`` may hold ``jobs`` (``rq.report.recovered``),
    ``write_through`` (address), ``unfinished`` (when an earlier run began that left something, in seconds since 1970),
    and lists: ``restarted``, ``preserved`` and ``taken`` (steps, as in ``incident``).
    """
    plan = last["plan"]
    before, after = first.get("primary") or {}, last.get("primary") or {}
    was = before.get("name") or first["topology"].get("last_primary") or "unknown"
    verdict = _VERDICTS.get(plan["verdict"], "NOT in service")
    if not facts.get("write_through") and plan["verdict"] in _VERDICTS:
        verdict = "NOT proven to be in service: no write was taken"
    lines = [f"Estate {estate}: {verdict}, after {seconds:.1f} s."]
    lines.append(f"What it was: {_causes(first['plan']['findings']) or 'nothing; the estate was healthy'}.")
    lines.append(f"Primary: {was} before, {after.get('name', 'none')} now.")
    lines += _steps(facts.get("taken") or (), plan.get("unhelped") or ())
    lines += _facts(facts)
    if _primary_was_hit(first, last):
        lines += (facts.get("jobs") or {}).get("gone") or []
    if last.get("unseen"):
        lines.append(f"Not seen: {words.unseen(last)}.")
    if first["plan"].get("loss"):
        lines.append(f"Possible loss: {first['plan']['loss']}")
    todo = [*plan["todo"], *((facts.get("jobs") or {}).get("todo") or ())]
    lines += [f"For you: {item}" for item in todo] or ["For you: nothing."]
    return lines


def _steps(taken: Sequence[Mapping[str, Any]], unhelped: Sequence[str]) -> list[str]:
    """What each step came to; of one that was taken again, its last try. Done is what repaired what it was for."""
    last = {(step["remedy"], step["host"]): step for step in taken}
    done = [
        f"{'Did not help' if '@'.join(name) in unhelped else 'Done'}: {words.action_text(step)}"
        for name, step in last.items()
        if not step["failed"]
    ]
    failed = [step for step in last.values() if step["failed"]]
    return done + [f"Failed: {title(step['remedy'])} (on {step['host']}): {step['failed']}" for step in failed]


def _primary_was_hit(first: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    """Whether writes may have been lost with a primary: it was not there, another is now, it was hit, or a replica took
    over in this outage before anybody looked."""
    before, after = (look.get("primary") or {} for look in (first, last))
    hit = {finding["where"] for finding in first["plan"]["findings"] if finding["severity"] != "info"}
    began, promoted = first.get("outage_began"), first.get("promoted_at")
    replaced = bool(hit) and promoted is not None and promoted >= (began or 0) - CLOCKS_S
    return not before or before.get("name") != after.get("name") or before.get("name") in hit or replaced


def _causes(findings: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{finding['title'].lower()} ({finding['where']})" for finding in findings)


def _facts(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    since = float(facts.get("unfinished") or 0)
    if since:
        began = moment(since)
        lines.append(f"Before this: a run that began at {began} did not finish; what it left was seen to as well.")
    if facts.get("write_through"):
        lines.append(f"Proof: a write was taken and read back through {facts['write_through']}.")
    if facts.get("restarted"):
        lines.append(f"Restarted: {', '.join(facts['restarted'])}.")
    lines += (facts.get("jobs") or {}).get("lines") or []
    lines += [f"Kept a copy: {path}" for path in facts.get("preserved") or []]
    return lines
