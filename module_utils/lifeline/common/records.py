# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run leaves on the control node, for its owner and group only."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Mapping

from ..errors import LifelineError
from . import atomic

FOLDER_MODE, MODE = 0o750, 0o640


def write_all(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Write files by name; their paths. Raises LifelineError."""
    try:
        for name, text in files.items():
            atomic.write(folder / name, text, MODE, atomic.MAKERS, make=FOLDER_MODE)
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
