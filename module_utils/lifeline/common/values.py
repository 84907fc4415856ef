# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading values that may be anything."""

from __future__ import annotations

from typing import Any


def number(value: Any, default: int = 0) -> int:
    """A whole number, or the default for anything that is none: servers of other versions say less."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return default
