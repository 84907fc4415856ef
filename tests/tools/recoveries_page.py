#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write docs/recoveries.md from what the runs of tests/faults made of each fault, pair of faults, and killed recovery.

``tests/faults/recoveries.json`` holds ``{faults: {NAME: row}, pairs: {...}, killed: {...}}``, the newest outcome of
each; ``recover.py``, ``pairs.py`` and ``killed.py`` write it with ``--record``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages import settle

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "faults" / "recoveries.json"
PAGE = ROOT / "docs" / "recoveries.md"

HEAD = """# What recover.yml makes of each fault

Written from `tests/faults/recoveries.json`, which `make recover-faults` fills; change it there. Each fault is brought
about on real hosts of the lab while an application enqueues jobs (2 a second; 5 before 2026-11-29); then `recover.yml`
runs twice. *Became* is right when it is what the row wants: recovered, refused with nothing changed, or left to a
person with the step named. Where it refuses for the data's sake, it runs once more with the options that it named.
Times are seconds from the start of `recover.yml`. A job that a worker had taken and never started is waited for: such a
run takes a minute longer.
"""
TITLES = {
    "faults": "One fault",
    "pairs": "Two faults at once, drawn at random",
    "killed": "recover.yml killed at a task, then run again",
}
COLUMNS = ("Named", "Became", "First write", "End", "Jobs", "Lost", "Twice", "Second run changed", "As it should be")


def results() -> dict[str, dict[str, Any]]:
    """What was recorded so far."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {kind: known.get(kind, {}) for kind in TITLES}


def record(kind: str, name: str, row: Mapping[str, Any]) -> None:
    """Put an outcome in the place of the older one of that name."""
    known = results()
    known[kind][name] = dict(row)
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(known))


def page(known: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page."""
    parts = [HEAD]
    for kind, title in TITLES.items():
        rows = known[kind]
        good = sum(row["good"] for row in rows.values())
        summary = f"{good} of {len(rows)} as they should be." if rows else "Nothing is recorded yet."
        parts.append(f"## {title}\n\n{summary}\n")
        if rows:
            parts.append(f"| | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
            parts += [_line(name, row) for name, row in sorted(rows.items())]
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _line(name: str, row: Mapping[str, Any]) -> str:
    became = row["became"] or "no outcome"
    wanted = "" if became == row["wanted"] else f" (wanted: {row['wanted']})"
    if row.get("accepted"):
        became += f"; {row['accepted']} with the options that it named"
    changed = "-" if row["second_changed"] < 0 else row["second_changed"]
    cells = (
        "yes" if row["named"] else "no", became + wanted, f"{row['first_write_s']:.1f}", f"{row['exit_s']:.1f}",
        row["acknowledged"], row["lost"], row["doubled"], changed,
        f"{'yes' if row['good'] else '**no**'} ({row['date']}, Redis {row['redis']})",
    )  # fmt: skip
    return f"| {name} | {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(settle(PAGE, page(results())))
