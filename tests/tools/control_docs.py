#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of controls in docs/compliance.md, made from the catalogue. Run it after a control was changed.

``tests/controls/results.json`` holds ``{judged: {CONTROL: {good, date, redis}}, repaired: {...}}``, what the newest run
of tests/controls/run.py made of each; it writes it with ``--record``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "compliance.md"
RESULTS = ROOT / "tests" / "controls" / "results.json"
KINDS = {"judged": "fails alone", "repaired": "repaired"}
BEGIN = "<!-- Made by tests/tools/control_docs.py from the catalogue of controls; changes here are overwritten. -->"
END = "<!-- End of what is made from the catalogue. -->"


def results() -> dict[str, dict[str, Any]]:
    """What was recorded so far."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {kind: known.get(kind, {}) for kind in KINDS}


def record(kind: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Put outcomes in the place of the older ones of those controls."""
    known = results()
    known[kind].update(rows)
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(), encoding="utf-8")


def shown(control: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """What was seen of a control on real hosts."""
    rows = {word: known[kind][control] for kind, word in KINDS.items() if control in known[kind]}
    told = [f"{word if row['good'] else f'**not** {word}'} ({row['date']})" for word, row in rows.items()]
    return "; ".join(told) or "in unit tests only"


def table() -> str:
    """One section a severity, one row a control."""
    sys.path.insert(0, str(ROOT / "module_utils"))
    from lifeline.compliance.controls.base import SEVERITIES
    from lifeline.compliance.controls.catalogue import CATALOGUE

    lines, known = [], results()
    for severity in SEVERITIES:
        chosen = [control for control in CATALOGUE if control.severity == severity]
        lines += ["", f"### {severity.capitalize()} ({len(chosen)})", ""]
        lines += ["| Id | What must be so | Why | What makes it so | Repaired | Source | On the lab |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for one in chosen:
            cells = (one.id, one.title, one.why, one.fix, "yes" if one.repairs else "", one.reference)
            told = [cell.replace("|", "/").replace("*", chr(92) + "*") for cell in cells]
            lines.append(f"| {' | '.join((*told, shown(one.id, known)))} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with a fresh table."""
    head, _begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _old, _end, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
