# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports as files on the control node, for their owner and group only."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Mapping

from ..common.records import folder_name, write_all
from ..diagnose import evidence as documents
from .html import diagnosis_page
from .incident import incident, incident_markdown, incident_page
from .markdown import diagnosis_markdown


def write(directory: str, estate: Mapping[str, Any], diagnosis: Mapping[str, Any]) -> list[str]:
    """Write the evidence bundle and the diagnosis of one estate to a folder of its own; the paths.

    Raises LifelineError when that cannot be done.
    """
    bundle = documents.bundle([{name: estate.get(name) for name in documents.ESTATE}])
    files = {
        "diagnosis.html": diagnosis_page(diagnosis),
        "diagnosis.md": diagnosis_markdown(diagnosis),
        "diagnosis.json": json.dumps(diagnosis, indent=1, sort_keys=True) + "\n",
        documents.BUNDLE_NAME: json.dumps(bundle, separators=(",", ":"), sort_keys=True) + "\n",
    }
    return write_all(Path(directory) / folder_name(diagnosis["service"]), files)


def write_incident(directory: str, looks: str, run: Mapping[str, Any]) -> list[str]:
    """Write the record of a recovery to a folder of its own, with what was seen before and after it; the paths.

    ``looks``: the folder whose ``before`` and ``after`` hold the reports of the first and the last look. ``run``: see
    ``incident.incident``, less its evidence, which is read from there. Raises LifelineError.
    """
    service = folder_name(str(run["estate"]))
    before = Path(looks) / "before" / service
    record = incident({**run, "evidence": _evidence_in(before)})
    moment = datetime.fromtimestamp(float(run["started"]), tz=timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    folder = Path(directory) / f"{service}-{moment}"
    paths = write_all(
        folder,
        {
            "incident.html": incident_page(record),
            "incident.md": incident_markdown(record),
            "incident.json": json.dumps(record, indent=1, sort_keys=True) + "\n",
        },
    )
    for look in ("before", "after"):
        source = Path(looks) / look / service
        if source.is_dir():
            paths += write_all(folder / look, {item.name: item.read_text("utf-8") for item in sorted(source.iterdir())})
    return paths


def _evidence_in(folder: Path) -> list[Any]:
    try:
        saved = json.loads((folder / documents.BUNDLE_NAME).read_text(encoding="utf-8"))
        return list(saved["estates"][0]["evidence"])
    except (OSError, ValueError, LookupError, TypeError):
        return []
