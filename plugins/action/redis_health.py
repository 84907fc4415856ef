# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs redis_health on the host, and notes here on the control node which host was asked, and in which look.

What a host answers is its own to say; whose answer it is, and of when, is not. An answer that never comes, that is
longer than any or that cannot be read is that host's silence, and no reason to end the play for it: another host may be
the one to speak for the estate.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.diagnose.evidence import stamp  # needs the path above
from lifeline.observe.screen import screened, too_long, unreadable


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible's is untyped
    """Runs the module redis_health, for as long as the task's keyword ``timeout`` says."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """One task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        result.update(self._answer(variables))
        result["look"] = stamp(str(variables.get("inventory_hostname", "")), str(self._task.args.get("round", "")))
        return result

    def _answer(self, variables: dict[str, Any]) -> dict[str, Any]:
        try:
            return screened(self._execute_module(module_name="ansible.legacy.redis_health", task_vars=variables))
        except AnsibleConnectionFailure:
            raise
        except Exception as error:  # noqa: BLE001 - JSON, UTF-8, recursion, ...: whatever a host may have sent
            return unreadable(str(error))
        except BaseException as error:
            # Ansible's own for a task that is late; it is no Exception, and its place differs between versions.
            if type(error).__name__ != "TaskTimeoutError":
                raise
            _end_children()
            return {"failed": True, "msg": f"It did not answer within {self._task.timeout} s."}

    def _parse_returned_data(self, res: dict[str, Any], *arguments: Any, **options: Any) -> dict[str, Any]:
        """The module's result; nobody begins to read what is longer than any."""
        said = res.get("stdout") or ""
        if too_long(said):
            return {**unreadable(f"it has {len(said) >> 20} MiB"), "_ansible_parsed": True}
        found: dict[str, Any] = super()._parse_returned_data(res, *arguments, **options)
        return found


def _end_children() -> None:
    """End what this task began: a connection to a host that does not answer would outlast the run."""
    with suppress(OSError, ValueError):
        listed = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii")
        for process in listed.split():
            with suppress(OSError):
                os.kill(int(process), signal.SIGTERM)
