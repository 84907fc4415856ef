# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows how a long rq_requeue comes along: the module works in slices, and a line is printed between them.

A module cannot speak before it ends. Each slice ends by itself and says where the next one goes on, so that nothing
runs on a host unseen, and a run that is broken off has done what its last line says and at most one slice more.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Optional

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.rq.progress import Progress  # needs the path above

# Seconds: a first line soon, then few enough that starting the module again costs little.
FIRST_SLICE, SLICE = 2.0, 5.0


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible's is untyped
    """Runs the module rq_requeue until it is finished."""

    _requires_connection = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """One task; its result is that of the last slice, with the time of all."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        if "time_limit" in arguments:  # somebody does this himself
            result.update(self._slice(arguments, variables))
            return result
        where = variables.get("inventory_hostname", "")
        progress = Progress(str(where), time.monotonic())
        arguments["time_limit"] = FIRST_SLICE
        while True:
            piece = self._slice(arguments, variables)
            if piece.get("failed") or piece.get("unreachable") or piece.get("finished", True):
                break
            stuck = progress.stuck(piece)
            if stuck:
                return {**result, **piece, "failed": True, "msg": stuck}
            self._display.display(progress.line(piece, time.monotonic()))
            arguments.update(resume=piece.pop("resume"), time_limit=SLICE)
        result.update(progress.total(piece, time.monotonic()))
        return result

    def _slice(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name="ansible.legacy.rq_requeue", module_args=arguments, task_vars=variables
        )
        return found
