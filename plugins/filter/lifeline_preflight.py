# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why an estate is not provisioned, and the marks of what is: doors to module_utils/lifeline for the control node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, Mapping

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.common import ownership
from lifeline.common.facts import plain
from lifeline.inventory import preflight


def platform_file(platform: Mapping[str, Any], flavour: str, role: str) -> str:
    """Path of the role's file that describes a host's platform; empty where it ships none."""
    folder = Path(role) / "vars"
    name = preflight.platform_file(plain(platform), flavour, sorted(path.name for path in folder.glob("*-*-*.yml")))
    return str(folder / name) if name else ""


def on_plain_data(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called with ordinary dicts and lists."""
    return lambda *values: function(*(plain(value) for value in values))


class FilterModule:
    """Filters named lifeline_*."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "lifeline_platform_file": platform_file,
            "lifeline_host_problems": on_plain_data(preflight.host_problems),
            "lifeline_endpoint_problems": on_plain_data(preflight.endpoint_problems),
            "lifeline_refusal": on_plain_data(preflight.refusal),
            "lifeline_reasons": on_plain_data(preflight.reasons_of),
            "lifeline_marks": on_plain_data(ownership.entries),
        }
