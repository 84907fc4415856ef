# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jinja filters: thin doors to module_utils/lifeline for the control node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline import config, estate, plan, report, sentinel


class FilterModule:
    """Filters named lifeline_*."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "lifeline_estate": estate.members,
            "lifeline_endpoints": estate.endpoints,
            "lifeline_redis_conf": config.lines,
            "lifeline_sentinel_secret": sentinel.secret,
            "lifeline_plan": plan.plan_from_evidence,
            "lifeline_plan_text": report.plan_text,
            "lifeline_outcome_text": report.outcome_text,
        }
