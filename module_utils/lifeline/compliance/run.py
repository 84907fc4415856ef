# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module redis_compliance: judge, compare with the run before, write the reports, keep the old ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping, Optional

from ..common import atomic
from ..errors import LifelineError
from ..report.compliance import forms
from . import judge

MODE = 0o640
NAME = "compliance.json"
# A report of a thousand hosts has some ten megabytes; what is larger is none.
LIMIT = 200_000_000


def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """``{report, reports}``; ``params`` are the module's options. Raises LifelineError for waivers that cannot be
    read and for files that cannot be written."""
    report = judge.assess(params)
    report["previous"] = None
    if not params.get("report_dir"):
        return {"report": report, "reports": []}
    folder = Path(params["report_dir"])
    before = previous(folder)
    if before is not None:
        report["previous"] = judge.changes(before, report)
    written = [
        _put(folder / forms.FILES[name], forms.render(name, report)) for name in params.get("formats") or judge.FORMATS
    ]
    _remember(folder / "history", report, int(params.get("keep") or 0))
    return {"report": report, "reports": written}


def previous(folder: Path) -> Optional[dict[str, Any]]:
    """The newest earlier report of a folder; None where there is none that can be read."""
    names = sorted((folder / "history").glob("*.json"), reverse=True)
    for path in names[:3]:
        try:
            if path.stat().st_size > LIMIT:
                continue
            report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(report, dict) and report.get("kind") == judge.REPORT_KIND:
            return report
    return None


def _remember(folder: Path, report: Mapping[str, Any], keep: int) -> None:
    """Keep this report for the next run, and no more of the old ones than wanted."""
    if keep < 1:
        return
    slim = {name: report[name] for name in ("kind", "version", "time", "service", "results", "summary", "verdict")}
    _put(folder / f"{int(report['time'] * 1000):015d}.json", json.dumps(slim, sort_keys=True))
    for old in sorted(folder.glob("*.json"), reverse=True)[keep:]:
        try:
            atomic.remove(old)
        except OSError as error:
            raise LifelineError(
                f"The old report {old} cannot be removed: {error.strerror}; remove it by hand."
            ) from error


def _put(path: Path, text: str) -> str:
    try:
        atomic.write(path, text, MODE, atomic.MAKERS, make=0o755)
    except OSError as error:
        raise LifelineError(
            f"The report {path} cannot be written on the control node: {error.strerror}; name another folder."
        ) from error
    return str(path)
