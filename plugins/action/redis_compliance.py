# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs redis_compliance on the control node: the evidence is here, and so are the reports of earlier runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Optional

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.compliance import OPTIONS  # needs the path above
from lifeline.compliance_files import work
from lifeline.errors import LifelineError
from lifeline.facts import plain


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible's is untyped
    """The module's options, checked as the module would; nothing is sent anywhere."""

    _requires_connection = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """One task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=OPTIONS)
        try:
            result.update(work(plain(options), self._task.check_mode), changed=False)
        except LifelineError as error:
            result.update(failed=True, msg=str(error))
        return result
