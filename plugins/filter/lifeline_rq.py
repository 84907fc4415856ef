# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jinja filters that say what rq_info and rq_requeue found and did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.rq import report  # needs the path above


class FilterModule:
    """Filters named lifeline_rq_*."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {
            "lifeline_rq_lost": report.lost,
            "lifeline_rq_done": report.done,
            "lifeline_rq_held": report.held,
            "lifeline_rq_recovered": report.recovered,
            "lifeline_rq_left_in_window": report.left_in_window,
        }
