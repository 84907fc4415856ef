# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Numbers, names and moments as every sentence has them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Sequence

# How many names a line holds before the rest is counted.
NAMES = 6


def moment(seconds: Any) -> str:
    """Seconds since 1970 as a date that everybody reads the same; "unknown" for what is none."""
    if not isinstance(seconds, (int, float)) or not seconds:
        return "unknown"
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "unknown"


def address(host: object, port: object) -> str:
    """``host:port``; IPv6 addresses are in brackets."""
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def names(everybody: Sequence[str], shown: int = NAMES) -> str:
    """``a, b and 3 more``."""
    if len(everybody) <= shown:
        return ", ".join(everybody)
    return f"{', '.join(everybody[: shown - 1])} and {len(everybody) - shown + 1} more"


def lower(text: str) -> str:
    """A title inside a sentence; abbreviations such as ACL stay as they are."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
