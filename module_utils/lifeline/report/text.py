# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person reads on the terminal: the plan before, and what happened after."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ..remedies import title


def plan_text(plan: Mapping[str, Any], estate: str) -> list[str]:
    """The plan as lines: verdict first, then what is wrong, what will be done, what it may cost, what is left to do."""
    lines = [f"Estate {estate}: {plan['summary']}"]
    for finding in plan["findings"]:
        lines.append(f"{finding['severity']}: {finding['title']} ({finding['where']})")
        lines += [f"    {line}" for line in finding["evidence"]]
    lines += [f"step {number}: {_action(action)}" for number, action in enumerate(plan["actions"], 1)]
    if plan.get("loss"):
        lines.append(f"possible loss: {plan['loss']}")
    lines += [f"for you: {item}" for item in plan["todo"]]
    return lines


def _action(action: Mapping[str, Any]) -> str:
    return f"{title(action['remedy'])} (on {action['host']}: {action['why']})"


def diagnosis_text(diagnosis: Mapping[str, Any]) -> list[str]:
    """The diagnosis as lines, worst first: how we know, what is at risk, what to do, what not to do, what follows."""
    lines = [f"Estate {diagnosis['service']}: {diagnosis['verdict'].upper()} - {diagnosis['summary']}."]
    for number, finding in enumerate(diagnosis["findings"], 1):
        lines.append(
            f"{number}. {finding['severity'].upper()}: {finding['title']} ({finding['where']}, {finding['sure']})"
        )
        lines += [f"   {line}" for line in finding["evidence"]]
        lines.append(f"   at risk: {finding['at_risk']}")
        lines.append(f"   do: {finding['remedy']}")
        lines.append(f"   do not: {finding['avoid']}")
        follows = [f"{item['title'].lower()} ({item['where']})" for item in finding["consequences"]]
        if follows:
            lines.append(f"   it explains: {'; '.join(follows)}")
    return lines


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
    ``restarted`` (list), ``preserved`` (list) and ``write_through`` (address).
    """
    plan = last["plan"]
    before, after = first.get("primary") or {}, last.get("primary") or {}
    was = before.get("name") or first["topology"].get("last_primary") or "unknown"
    verdict = _VERDICTS.get(plan["verdict"], "NOT in service")
    if not facts.get("write_through"):
        verdict = "NOT proven to be in service: no write was taken"
    changed = first["plan"]["verdict"] == "act"
    lines = [f"Estate {estate}: {verdict}, after {seconds:.1f} s."]
    lines.append(f"What it was: {_causes(first['plan']['findings']) or 'nothing; the estate was healthy'}.")
    lines.append(f"Primary: {was} before, {after.get('name', 'none')} now.")
    if changed:
        lines += [f"Done: {_action(action)}" for action in first["plan"]["actions"]]
    lines += _facts(facts)
    if first["plan"].get("loss"):
        lines.append(f"Possible loss: {first['plan']['loss']}")
    todo = [*plan["todo"], *((facts.get("jobs") or {}).get("todo") or ())]
    lines += [f"For you: {item}" for item in todo] or ["For you: nothing."]
    return lines


def _causes(findings: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{finding['title'].lower()} ({finding['where']})" for finding in findings)


def _facts(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    if facts.get("write_through"):
        lines.append(f"Proof: a write was taken and read back through {facts['write_through']}.")
    if facts.get("restarted"):
        lines.append(f"Restarted: {', '.join(facts['restarted'])}.")
    lines += (facts.get("jobs") or {}).get("lines") or []
    lines += [f"Kept a copy: {path}" for path in facts.get("preserved") or []]
    return lines
