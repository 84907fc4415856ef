# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jinja filters: thin doors to module_utils/lifeline for the control node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline import estate  # noqa: E402 - needs the path above: the control node's Python has no lifeline of its own


class FilterModule:
    """Filters named lifeline_*."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "lifeline_estate": estate.members,
            "lifeline_endpoints": estate.endpoints,
        }
