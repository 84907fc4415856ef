# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The diagnosis as Markdown, for a ticket or a chat. What comes from evidence can neither mark up nor link anything."""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping, Sequence

from ..common.facts import clean_text
from ..common.words import moment, names
from . import words

# Rows of a table, and lines of evidence of one finding.
ROWS, LINES = 40, 30

# What Markdown or a forge would take for markup, a link, a mention or an issue.
_SPECIAL = {**{char: f"\\{char}" for char in "\\`*_[]~"}, **{char: f"&#{ord(char)};" for char in "&<>#|@$"}}


def diagnosis_markdown(diagnosis: Mapping[str, Any]) -> str:
    """The whole document."""
    verdict = diagnosis["verdict"]
    began = diagnosis["outage_began"]
    lead = [
        ("Primary", words.primary(diagnosis)),
        ("Members", words.parties(diagnosis)),
        ("Applications", words.applications(diagnosis)),
        ("Jobs", words.jobs(diagnosis)),
        ("Looked at", moment(diagnosis["parties"]["looked_at"])),
        ("Trouble since", moment(began) if began else ""),
    ]
    parts = [
        f"# {escaped(verdict.upper())}: estate {escaped(diagnosis['service'])}",
        f"{escaped(diagnosis['summary'])}. The estate is {escaped(words.MEANING.get(verdict, 'unknown'))}.",
        "\n".join(f"- {label}: {escaped(text)}" for label, text in lead if text),
        "## Findings, worst first",
        *(
            [_finding(at, finding) for at, finding in enumerate(words.grouped(diagnosis["findings"]), 1)]
            or ["Nothing is wrong."]
        ),
        "## As each member sees it",
        _servers(diagnosis),
        _sentinels(diagnosis),
        _applications(diagnosis),
        _looks(diagnosis),
        _plan(diagnosis["plan"]),
    ]
    if diagnosis["unjudged"]:
        parts.append(f"Not judged, since the evidence is so odd: {escaped(names(diagnosis['unjudged'], 20))}.")
    unseen = words.unseen(diagnosis, 20)
    if unseen:
        parts.append(f"Not seen: {escaped(unseen)}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(value: Any) -> str:
    """Text that says what it says and does nothing."""
    escaped = "".join(_SPECIAL.get(char, char) for char in clean_text(str(value)).strip())
    return re.sub(r"(?i)://", ":&#47;&#47;", re.sub(r"(?i)\bwww\.", "www&#46;", escaped))


def _prose(text: str) -> str:
    """A sentence in which `backticks` mean code."""
    pieces = clean_text(text).split("`")
    if len(pieces) % 2 == 0:
        return escaped(text)
    return "".join(_code(piece) if at % 2 and piece else _inline(piece) for at, piece in enumerate(pieces))


def _inline(piece: str) -> str:
    """A piece of a sentence, with the blanks at its ends."""
    told = escaped(piece)
    return f"{' ' * piece.startswith(' ')}{told}{' ' * piece.endswith(' ')}" if told else " " * bool(piece)


def _code(text: str) -> str:
    """A code span that its own content cannot end."""
    line = clean_text(text).strip()
    fence = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}" if line else ""


def _finding(number: int, finding: Mapping[str, Any]) -> str:
    told = [
        ("At risk", _prose(finding["at_risk"])),
        ("Do", _prose(finding["remedy"])),
        ("Do not", _prose(words.avoided(finding))),
        ("It explains", "; ".join(escaped(item) for item in words.explained(finding))),
    ]
    return "\n".join(
        [
            f"### {number}. {finding['severity'].capitalize()}: {escaped(words.heading(finding))}",
            "",
            f"How we know ({escaped(words.sureness(finding))}):",
            "",
            *(f"- {_code(line)}" for line in words.shown(finding["evidence"], LINES) if line.strip()),
            "",
            *(f"- **{label}:** {text}" for label, text in told if text),
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    body = [f"| {' | '.join(escaped(cell) or '-' for cell in row)} |" for row in rows]
    if not body:
        return ""
    return "\n".join([f"| {' | '.join(map(escaped, head))} |", f"|{'---|' * len(head)}", *body])


def _servers(diagnosis: Mapping[str, Any]) -> str:
    rows = []
    for row in diagnosis["parties"]["servers"][:ROWS]:
        says = row["role"] if row["alive"] else f"does not answer: {row['error'] or 'nobody could ask it'}"
        state = "primary" if row["agreed"] else says
        follows = f"{row['follows']}, link {'up' if row['link_up'] else 'down'}" if row["follows"] else ""
        offset = f"{row['offset']:,}" if row["offset"] is not None else ""
        unreached = names(row["missed_by"])
        rows.append((row["name"], row["address"], state, follows, offset, words.behind(row) or "", unreached))
    return _table(("Server", "Address", "State", "Follows", "Offset", "Behind", "Not reached from"), rows)


def _sentinels(diagnosis: Mapping[str, Any]) -> str:
    rows = [
        (
            row["name"],
            (row["names"] or "nobody") if row["alive"] else f"does not answer: {row['error']}",
            "holds it for down" if row["holds_down"] else "",
            row["quorum"],
        )
        for row in diagnosis["parties"]["sentinels"][:ROWS]
    ]
    return _table(("Sentinel", "Names", "Thinks", "Quorum"), rows)


def _applications(diagnosis: Mapping[str, Any]) -> str:
    rows = [
        (row["name"], row["address"] or row["host"], row["role"] if row["reachable"] else row["error"] or "unknown")
        for row in diagnosis["parties"]["applications"][:ROWS]
    ]
    return _table(("Application host", "Asks", "Reaches"), rows)


def _looks(diagnosis: Mapping[str, Any]) -> str:
    rows, servers, left = words.looks(diagnosis, ROWS)
    cells = [(row["host"], *(row["sees"].get(server, "not asked") or "answers" for server in servers)) for row in rows]
    table = _table(("From", *servers), cells)
    return f"{table}\n\n{words.count(left, 'more host')} are in evidence.json." if table and left else table


def _plan(plan: Mapping[str, Any]) -> str:
    lines = [f"{number}. {escaped(step)}" for number, step in enumerate(words.steps(plan), 1)]
    if plan["refusal"]:
        lines.append(f"- **It refuses:** {_prose(plan['refusal'])}")
    if plan["loss"]:
        lines.append(f"- **Possible loss:** {_prose(plan['loss'])}")
    lines += [f"- **Left to you:** {_prose(item)}" for item in plan["todo"]]
    return "\n".join(["## What recover.yml would do now", "", *lines]) if lines else ""
