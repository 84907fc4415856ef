# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module that does its work on the control node, where the evidence and the reports are: no host need help."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, ClassVar, Optional

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from lifeline.common.facts import plain
from lifeline.errors import LifelineError  # needs the path above


class ControlNodeModule(ActionBase):  # type: ignore[misc] # Ansible's is untyped
    """The module's options, checked as the module would; nothing is sent anywhere, and reports are no change.

    ``options``: the argument spec. ``work``: from options and check mode to the result; may raise LifelineError.
    """

    _requires_connection = False
    options: ClassVar[Mapping[str, Any]]
    one_of: ClassVar[Sequence[Sequence[str]]] = ()
    work: ClassVar[Callable[[Mapping[str, Any], bool], Mapping[str, Any]]]

    def given(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """The options, with what is not handed over in the task."""
        return options

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """One task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=self.options, required_one_of=self.one_of)
        try:
            result.update(type(self).work(self.given(plain(options), task_vars or {}), self._task.check_mode))
            result.setdefault("changed", False)
        except LifelineError as error:
            result.update(failed=True, msg=str(error))
        return result
