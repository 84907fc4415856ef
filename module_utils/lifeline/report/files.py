# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports as files on the control node, for their owner and group only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Mapping

from .. import evidence as documents
from ..errors import LifelineError
from .html import diagnosis_page
from .markdown import diagnosis_markdown

FOLDER_MODE, MODE = 0o750, 0o640


def write(directory: str, estate: Mapping[str, Any], diagnosis: Mapping[str, Any]) -> list[str]:
    """Write the evidence bundle and the diagnosis of one estate to a folder of its own; the paths.

    Raises LifelineError when that can not be done.
    """
    bundle = documents.bundle([{name: estate.get(name) for name in documents.ESTATE}])
    files = {
        "diagnosis.html": diagnosis_page(diagnosis),
        "diagnosis.md": diagnosis_markdown(diagnosis),
        "diagnosis.json": json.dumps(diagnosis, indent=1, sort_keys=True) + "\n",
        documents.BUNDLE_NAME: json.dumps(bundle, separators=(",", ":"), sort_keys=True) + "\n",
    }
    folder = Path(directory) / folder_name(diagnosis["service"])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        for name, text in files.items():
            _put(folder / name, text)
    except OSError as error:
        raise LifelineError(
            f"The reports cannot be written to {folder} on the control node: {error.strerror}; name another folder."
        ) from error
    return [str(folder / name) for name in files]


def folder_name(service: str) -> str:
    """A folder's name for an estate: its own name, or one made of it where that could lead elsewhere."""
    if re.fullmatch(r"\w[\w.-]{0,99}", service, re.ASCII):
        return service
    digest = hashlib.sha256(service.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', service)[:60].strip('-') or 'estate'}-{digest}"


def _put(path: Path, text: str) -> None:
    """All of it or nothing: whoever reads the file meanwhile has the one from before."""
    handle, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), MODE)
        os.replace(made, path)
    except BaseException:
        os.unlink(made)
        raise
