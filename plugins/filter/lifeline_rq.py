# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jinja filters that say what rq_info and rq_requeue found and did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.common.facts import clean_all  # needs the path above
from lifeline.rq import report


def said(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function's texts, cleaned for the terminal: names of queues, jobs and errors are in them."""
    return lambda *values: clean_all(function(*values))


class FilterModule:
    """Filters named lifeline_rq_*."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {
            "lifeline_rq_lost": said(report.lost),
            "lifeline_rq_done": said(report.done),
            "lifeline_rq_held": said(report.held),
        }
