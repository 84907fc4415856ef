# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module incident_record: options, and the one call."""

from __future__ import annotations

from typing import Any, Mapping

from ..plan.aftermath import remember
from .files import write_incident

OPTIONS: dict[str, Any] = {
    "estate": {"type": "str", "required": True},
    "run": {"type": "str", "required": True},
    "who": {"type": "str", "default": ""},
    "started": {"type": "float", "required": True},
    "ended": {"type": "float", "required": True},
    "proven_at": {"type": "float"},
    "first": {"type": "dict", "required": True},
    "last": {"type": "dict", "required": True},
    "steps": {"type": "list", "elements": "dict", "default": []},
    "lines": {"type": "list", "elements": "str", "default": []},
    "looks_dir": {"type": "path", "required": True},
    "dir": {"type": "path", "required": True},
    "memory_dir": {"type": "path"},
}


def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """See the module's documentation. Raises LifelineError when the record cannot be written."""
    if check:
        return {"files": []}
    if params.get("memory_dir"):
        remember(params["memory_dir"], params["estate"], params["steps"], params["last"].get("plan") or {})
    return {"files": write_incident(params["dir"], params["looks_dir"], params)}
