#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_repair
short_description: End what blocks a running server, let it save again or afresh, or hang up on who is not heard
version_added: "0.1.0"
description:
  - V(kill_script) ends a script or function that blocks the server. One that has written cannot be ended without a
    loss; the module says so and leaves it.
  - V(save) saves the data again after a save has failed, and waits until that worked.
  - V(rewrite_aof) writes a whole new append-only file where its manifest or a file that it names is gone from the disk.
    It runs on the server's own host.
  - V(hang_up) closes connections that never got past their login, where the default user is off. Sentinel does not log
    in again by itself once a server has its right password back.
  - V(relink) closes the link of a replica that its primary has not heard for 5 seconds, as after a gap in the network,
    when TCP itself waits; it comes back at once and goes on where it was. It waits until the primary hears it, and is
    an error where the replica would have to copy everything. The primary is asked at the address that the replica
    follows, with the same login, and has to know the replica by O(login_host) and O(login_port).
  - V(remember) has the server write its configuration where that names another primary than the server follows. It runs
    on the server's own host.
  - Nothing is done where nothing is wrong.
options:
  what:
    description: What to repair.
    type: str
    choices: [kill_script, save, rewrite_aof, hang_up, relink, remember]
    required: true
  allow_down:
    description: Whether a server that does not run is fine; then nothing is done.
    type: bool
    default: false
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 60.0
attributes:
  check_mode:
    description: Looks, and returns the commands it would send.
    support: full
  diff_mode:
    description: The result lists the commands.
    support: none
author:
  - Lifeline contributors (@lifeline)
extends_documentation_fragment:
  - redis_connection
  - redis_credentials
"""

EXAMPLES = r"""
- name: End the script that blocks the server
  redis_repair:
    what: kill_script
    login_unix_socket: /run/redis-main/redis.sock
    login_user: operator
    login_password: "{{ redis_password_operator }}"
"""

RETURN = r"""
commands:
  description: Commands that were sent, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [SCRIPT KILL]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.repair import work
from ansible.module_utils.lifeline.common.spec import connection_spec, run


def main():
    module = AnsibleModule(
        argument_spec={
            **connection_spec(),
            "what": {
                "type": "str",
                "choices": ["kill_script", "save", "rewrite_aof", "hang_up", "relink", "remember"],
                "required": True,
            },
            "allow_down": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
