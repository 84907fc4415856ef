# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells the lock which process of the control node holds it, and takes over at once from one of its own that died."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Optional

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline import lock  # needs the path above


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible's is untyped
    """Runs the module estate_lock, a second time when the holder turns out to be dead."""

    _requires_connection = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """One task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = {"process": lock.here(os.getppid()), **self._task.args}  # the worker's parent is ansible-playbook
        found = self._ask(arguments, task_vars or {})
        holder = found.get("holder")
        if holder and not found.get("held") and lock.has_died(str(holder.get("process", ""))):
            found = self._ask({**arguments, "dead_run": holder["run"]}, task_vars or {})
        result.update(found)
        return result

    def _ask(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name="ansible.legacy.estate_lock", module_args=arguments, task_vars=variables
        )
        return found
