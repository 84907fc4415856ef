# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs redis_diagnose on the control node: the evidence is here, and a host that is down need not help to say so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Mapping, Optional

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline import evidence as look
from lifeline.diagnose import ONE_OF, OPTIONS, work  # needs the path above
from lifeline.errors import LifelineError
from lifeline.facts import plain


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible's is untyped
    """The module's options, checked as the module would; nothing is sent anywhere."""

    _requires_connection = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """One task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=OPTIONS, required_one_of=ONE_OF)
        options = plain(options)
        if options["registered"]:
            options.update(_registered(options, task_vars or {}))
        try:
            result.update(work(options, self._task.check_mode), changed=False)
        except LifelineError as error:
            result.update(failed=True, msg=str(error))
        result["_ansible_verbose_always"] = options["show"]
        return result


def _registered(options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """``{evidence, silent, unasked}`` out of what the members registered, as it is: nothing in it is a template."""
    rows = (*options["nodes"], *options["sentinels"])
    members = dict.fromkeys([*(str(row.get("name") or row.get("host")) for row in rows), *options["applications"]])
    hosts = task_vars["hostvars"]
    results = {host: hosts.raw_get(host).get(options["registered"]) for host in members if host in hosts}
    asked = set(task_vars["ansible_play_hosts_all"])
    return {
        **plain(look.seen({host: found for host, found in results.items() if isinstance(found, dict)})),
        "unasked": [host for host in members if host not in asked],
    }
