# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows how a long rq_requeue comes along: the module works in slices, and a line is printed between them.

A module cannot speak before it ends. Each slice ends by itself and says where the next one goes on, so that nothing
runs on a host unseen, and a run that is broken off has done what its last line says and at most one slice more.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Optional

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.act import lock  # needs the path above
from lifeline.rq.progress import Progress

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
        held = variables.get("__redis_lock", {})
        arguments["time_limit"] = FIRST_SLICE
        while True:
            piece = self._slice(arguments, variables)
            if piece.get("failed") or piece.get("unreachable") or piece.get("finished", True):
                break
            stuck = progress.stuck(piece)
            if stuck:
                return {**result, **piece, "failed": True, "msg": stuck}
            self._display.display(progress.line(piece, time.monotonic()))
            held = self._renewed(held, variables)
            if held.get("held") is False:
                return {**result, **piece, "failed": True, "msg": lock.refusal(held["estate"], [held], renewing=True)}
            arguments.update(resume=piece.pop("resume"), time_limit=SLICE)
        result.update(progress.total(piece, time.monotonic()))
        return result

    def _renewed(self, held: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """The lock that the play took (role redis, lock.yml), renewed on this host where it is time to.

        A slow requeue takes longer than another control node waits for the run that holds the lock.
        """
        asked = time.time()
        if not lock.is_due(held, float(self._templar.template(variables.get("redis_lock_stale", lock.NEVER))), asked):
            return held
        told = {**lock.named(os.getppid()), "estate": held["estate"], "what": held["what"], "stale": lock.NEVER}
        answer: dict[str, Any] = self._execute_module(
            module_name="ansible.legacy.estate_lock", module_args=told, task_vars=variables
        )
        # A host that could not say anything is no reason to stop: the next slice asks again.
        return {**held, "held": answer.get("held", True), "asked": asked}

    def _slice(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name="ansible.legacy.rq_requeue", module_args=arguments, task_vars=variables
        )
        return found
