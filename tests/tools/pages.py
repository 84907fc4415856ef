# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a program that writes a page from the code ends: ``--check`` writes nothing."""

from __future__ import annotations

import sys
from pathlib import Path


def settle(page: Path, text: str) -> int:
    """Write the page; with ``--check`` only compare, and 1 when it is out of date."""
    if "--check" not in sys.argv[1:]:
        page.write_text(text)
        return 0
    if page.exists() and page.read_text() == text:
        return 0
    print(f"{page.name} is out of date: run `make docs`")
    return 1
