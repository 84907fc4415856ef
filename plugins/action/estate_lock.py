# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells the lock which process of the control node holds it, and takes over what a dead run left behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Optional

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.act import lock  # needs the path above


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible's is untyped
    """Runs the module estate_lock, a second time when the lock that it meets was left behind."""

    _requires_connection = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """One task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        process = os.getppid()  # the worker's parent is ansible-playbook
        arguments = {**lock.named(process), **self._task.args}
        asked = {"asked": time.time(), **{key: str(arguments.get(key, "")) for key in ("estate", "what")}}
        stale = float(arguments.get("stale", lock.NEVER))
        # Only here can be told whether a process of this control node lives, so the host must not judge by age alone.
        found = self._ask({**arguments, "stale": lock.NEVER}, task_vars or {})
        holder = lock.holder_of(found.get("holder"))
        if holder and found.get("held") is False and lock.may_take_over(holder.process, _quiet(found), stale):
            found = self._ask({**arguments, "stale": lock.NEVER, "dead_run": holder.run}, task_vars or {})
        result.update(found, **asked)
        return result

    def _ask(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name="ansible.legacy.estate_lock", module_args=arguments, task_vars=variables
        )
        return found


def _quiet(found: dict[str, Any]) -> float:
    """Seconds since the holder was last heard of; a host may have said anything."""
    quiet = found.get("quiet")
    return quiet if isinstance(quiet, (int, float)) else 0.0
