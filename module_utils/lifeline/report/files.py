# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports as files on the control node, for their owner and group only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Mapping

from .. import evidence as documents
from ..errors import LifelineError

MODE = 0o640


def write(directory: str, estate: Mapping[str, Any], diagnosis: Mapping[str, Any]) -> list[str]:
    """Write the evidence bundle and the diagnosis of one estate; the paths. Raises LifelineError."""
    members = ("service", "quorum", "nodes", "sentinels", "applications", "evidence")
    bundle = documents.bundle([{name: estate.get(name) for name in members}])
    files = {
        "evidence.json": json.dumps(bundle, indent=1, sort_keys=True),
        "diagnosis.json": json.dumps(diagnosis, indent=1, sort_keys=True),
    }
    return [_put(Path(directory) / name, text) for name, text in files.items()]


def _put(path: Path, text: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f".{path.name}.{os.getpid()}")
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE), "w", encoding="utf-8") as file:
            file.write(text)
        made.replace(path)
    except OSError as error:
        raise LifelineError(
            f"The report {path} cannot be written on the control node: {error.strerror}; name another folder."
        ) from error
    return str(path)
