#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write docs/safety.md from the tests that are named after a row: ``test_A1_...`` and so on.

The first test of a row in a file says in its docstring what was wrong and what is right::

    \"\"\"Before: what the code did.

    Now: what it does.
    \"\"\"
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pages import settle

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "safety.md"
NAME = re.compile(r"test_([AB]\d+)_")
TOLD = re.compile(r"Before: (?P<before>.+?)\s*\n\s*\n\s*Now: (?P<now>.+)", re.DOTALL)

# What a row is about: A is harm done to estates in service, B is what an attacker could do.
ROWS: dict[str, str] = {
    "A1": "A primary that refuses Lifeline's login",
    "A2": "A primary that the inventory does not have",
    "A3": "A URL that leads to a replica",
    "A4": "A URL, and another Redis on the control node",
    "A5": "Killed servers of an estate that Lifeline did not make",
    "A6": "provision.yml on an estate that it must refuse",
    "A7": "A foreign server that holds the port",
    "A8": "A firewall on a host that never had one",
    "A9": "Evidence of an earlier round",
    "A10": "Exit status 0 without a proven write",
    "A11": "A group that no playbook knows",
    "A12": "Another key prefix of RQ",
    "A13": "Two runs that change an estate at once",
    "A14": "A switchover on Valkey 9",
    "A15": "A configuration that the server cannot save",
    "A16": "A best copy that does not load",
    "A17": "A second primary and no space for a copy of its data",
    "A18": "A server bound to loopback; protected mode",
    "A19": "A step that repaired nothing",
    "A20": "Copies that fill the disk",
    "B1": "Text that makes a pattern run forever",
    "B2": "Secrets in the hosts' syslog",
    "B3": "A host that speaks in another's name",
    "B4": "A replica that claims to be the successor",
    "B5": "Links planted where root writes",
    "B6": "A certificate for another name",
    "B7": "A platform name that is a path",
    "B8": "From observer to all data",
    "B9": "Hosts, files and servers that never end",
    "B10": "A document that cannot be read",
    "B11": "Replies and documents without end",
    "B12": "A claim that a live worker is dead",
    "B13": "Escape sequences on the terminal",
    "B14": "Smaller attacks",
    "B15": "A password in an error about its URL",
    "B16": "A flood of error codes",
}

HEAD = """# What Lifeline must never do

Written by `make docs` from the tests that are named after each row; change it there. Rows A are harm that was done to
estates in service, rows B are attacks by a compromised host, server, job or local account. *Before* is version 0.1.0 at
its last commit before 2026-11-30.

Beside the rows: `tests/faults/failsafe.py` runs recover.yml on ten estates that look odd and are in service, which must
stay exactly as they are; `tests/unit/test_liar.py` lets one host of three lie in every field of its evidence.
"""


@dataclass
class Row:
    """A row's tests, and what the first docstrings say of it."""

    tests: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    now: list[str] = field(default_factory=list)


def rows(folder: Path = ROOT / "tests") -> dict[str, Row]:
    """What the tests below ``folder`` say of each row; rows without a test are empty."""
    found = {name: Row() for name in ROWS}
    for path in sorted(folder.rglob("*.py")):
        counted: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            name = NAME.match(getattr(node, "name", "")) if isinstance(node, ast.FunctionDef) else None
            if not name or not isinstance(node, ast.FunctionDef):
                continue
            row = found.setdefault(name[1], Row())
            row.tests.append(f"{path.relative_to(folder.parent)}::{node.name}")
            said = TOLD.fullmatch((ast.get_docstring(node) or "").strip())
            if said and name[1] not in counted:
                counted.add(name[1])
                row.before.append(" ".join(said["before"].split()))
                row.now.append(" ".join(said["now"].split()))
    return found


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, row in rows().items():
        parts.append(f"## {name}: {ROWS.get(name, 'unknown')}\n")
        parts += [f"| Before | Now |\n|---|---|\n| {_cell(row.before)} | {_cell(row.now)} |\n"]
        parts += [f"- `{test}`" for test in row.tests]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _cell(texts: list[str]) -> str:
    return " ".join(dict.fromkeys(map(_sentence, texts))).replace("|", "\\|").replace("<", "&lt;") or "not said"


def _sentence(text: str) -> str:
    """With a capital letter, unless it begins with a name of the code."""
    first = text.split(maxsplit=1)[0]
    return text if re.search(r"[_.:]", first) else text[:1].upper() + text[1:]


if __name__ == "__main__":
    sys.exit(settle(PAGE, page()))
