# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs redis_health on the host, and notes here on the control node which host was asked, and in which look.

What a host answers is its own to say; whose answer it is, and of when, is not. An answer that cannot be read is that
host's silence, and no reason to end the play for it: another host may be the one to speak for the estate.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Optional

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.evidence import stamp  # needs the path above
from lifeline.facts import clean_text, plain


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible's is untyped
    """Runs the module redis_health."""

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
            found = self._execute_module(module_name="ansible.legacy.redis_health", task_vars=variables)
            return {str(key): plain(value) for key, value in found.items()}
        except AnsibleConnectionFailure:
            raise
        except Exception as error:  # noqa: BLE001 - JSON, UTF-8, recursion, ...: whatever a host may have sent
            return {"failed": True, "msg": f"Its answer cannot be read: {clean_text(str(error))[:200]}"}
