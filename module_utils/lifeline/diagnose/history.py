# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a former primary has that the present one has not. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Optional


def surplus_between(primary: Mapping[str, Any], stale: Mapping[str, Any]) -> Optional[int]:
    """Bytes of the replication stream that only the stale primary has; None when it cannot be told.

    Both are views as ``observe.parse_info`` gives them. The new primary remembers in ``second_offset`` where it left
    the old history ``replid2`` (measurement N15). An empty stale node has nothing to lose.
    """
    if stale.get("keys") == 0:
        return 0
    mine, theirs = stale.get("replid"), primary.get("replid2")
    offset = int(stale.get("offset") or 0)
    if mine and mine == theirs:
        return max(0, offset - int(primary.get("second_offset", -1)) + 1)
    if mine and mine == primary.get("replid"):
        return max(0, offset - int(primary.get("offset") or 0))
    return None
