# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs redis_diagnose on the control node: the evidence is here, and a host that is down need not help to say so."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, Mapping, Optional

from ansible import constants, context

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from control_node import ControlNodeModule  # needs the path above; the next ones need what it does to the path
from lifeline.common.facts import plain
from lifeline.diagnose import evidence as look
from lifeline.errors import LifelineError
from lifeline.inventory.estate import without_servers
from lifeline.report.diagnosis import ONE_OF, OPTIONS, work


class ActionModule(ControlNodeModule):
    """See the module's documentation."""

    options = OPTIONS
    one_of = ONE_OF
    work = work

    def given(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """The options, with the evidence that the members registered; saved evidence has members of its own."""
        if "command" not in self._task.args:
            options = {**options, "command": recover_command(context.CLIARGS)}
        if options["evidence_file"] or not options["registered"]:
            return options
        return {**options, **_registered(options, task_vars)}

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """One task; what it was asked to show, it shows without -v."""
        result = super().run(tmp, task_vars)
        result["_ansible_verbose_always"] = self._task.args.get("show", False)
        return result


def recover_command(typed: Mapping[str, Any]) -> str:
    """recover.yml for the inventory and the hosts that this run was given, ready to paste."""
    inventories = typed.get("inventory") or ()
    if list(inventories) == list(constants.DEFAULT_HOST_LIST):
        inventories = ()
    words = [word for inventory in inventories for word in ("-i", str(inventory))]
    words += ["--limit", str(typed["subset"])] if typed.get("subset") else []
    return shlex.join(["ansible-playbook", *words, "recover.yml"])


def _registered(options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """``{evidence, silent, unasked}`` out of what the members registered, as it is: nothing in it is a template."""
    rows = (*options["nodes"], *options["sentinels"])
    members = dict.fromkeys([*(str(row.get("name") or row.get("host")) for row in rows), *options["applications"]])
    if not options["nodes"]:
        raise LifelineError(without_servers(str(options["service"])))
    asked = set(task_vars["ansible_play_hosts_all"])
    found = look.registered(
        task_vars["hostvars"],
        list(members),
        set(task_vars["ansible_play_hosts"]),
        str(options["registered"]),
        str(options["service"]),
        str(options["round"]),
    )
    return {**plain(found), "unasked": [host for host in members if host not in asked]}
