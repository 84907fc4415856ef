#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_scale
short_description: Give a running server more memory and more clients, within what its host has
version_added: "0.1.0"
description:
  - Raises C(maxmemory), C(maxclients) and the process's limit of open files on the running server, without a restart,
    and makes them last (C(CONFIG REWRITE), a drop-in of the unit).
  - Nothing is lowered. Nothing goes beyond the memory of the host or of its container, less what other servers on it
    hold and a fork may copy; then RV(notes) says that only a bigger machine helps.
options:
  maxmemory:
    description: Wanted size, such as C(2gb). Empty raises it by O(factor) if O(when_percent) of it is in use.
    type: str
    default: ""
  maxclients:
    description: Wanted number. 0 raises it by O(factor) if O(when_percent) of it is in use.
    type: int
    default: 0
  factor:
    description: By how much to raise what is nearly used up.
    type: float
    default: 1.5
  when_percent:
    description: Share in use from which on something counts as nearly used up, in percent.
    type: float
    default: 80.0
  fork_percent:
    description: Share of the data that a fork may have to copy, in percent.
    type: int
    default: 50
  unit:
    description:
      - systemd unit of the server, for the limit of open files. Empty changes the running process only, and so does a
        unit on a host whose server Lifeline did not set up.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what it would raise.
    support: full
  diff_mode:
    description: Shows the limits before and after.
    support: full
notes:
  - Keep the new values in the inventory too (RV(after)), or the next C(provision.yml) brings the old ones back.
author:
  - Lifeline contributors (@lifeline)
extends_documentation_fragment:
  - redis_connection
  - redis_credentials
"""

EXAMPLES = r"""
- name: Raise what is nearly used up
  redis_scale:
    login_unix_socket: /run/redis-main/redis.sock
    login_user: operator
    login_password: "{{ redis_password_operator }}"
    unit: redis-server@main.service
"""

RETURN = r"""
before:
  description: Limits before; C(maxmemory) in bytes.
  returned: always
  type: dict
  sample: {maxmemory: 1073741824, maxclients: 10000, files: 11024}
after:
  description: Limits now; in check mode, as they would be.
  returned: always
  type: dict
  sample: {maxmemory: 1610612736, maxclients: 10000, files: 11024}
notes:
  description: What could not be given, and what helps.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.scale import work
from ansible.module_utils.lifeline.common.spec import connection_spec, run


def main():
    module = AnsibleModule(
        argument_spec={
            **connection_spec(),
            "maxmemory": {"type": "str", "default": ""},
            "maxclients": {"type": "int", "default": 0},
            "factor": {"type": "float", "default": 1.5},
            "when_percent": {"type": "float", "default": 80.0},
            "fork_percent": {"type": "int", "default": 50},
            "unit": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
