#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of controls in docs/compliance.md, made from the catalogue. Run it after a control was changed."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "compliance.md"
BEGIN = "<!-- Made by tests/tools/control_docs.py from the catalogue of controls; changes here are overwritten. -->"
END = "<!-- End of what is made from the catalogue. -->"


def table() -> str:
    """One section a severity, one row a control."""
    sys.path.insert(0, str(ROOT / "module_utils"))
    from lifeline.controls import CATALOGUE
    from lifeline.controls.base import SEVERITIES

    lines = []
    for severity in SEVERITIES:
        chosen = [control for control in CATALOGUE if control.severity == severity]
        lines += ["", f"### {severity.capitalize()} ({len(chosen)})", ""]
        lines += ["| Id | What must be so | Why | What makes it so | Mended | Source |", "|---|---|---|---|---|---|"]
        for one in chosen:
            cells = (one.id, one.title, one.why, one.fix, "yes" if one.mends else "", one.reference)
            lines.append(f"| {' | '.join(cell.replace('|', '/').replace('*', chr(92) + '*') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with a fresh table."""
    head, _begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _old, _end, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
