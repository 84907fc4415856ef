#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_role
short_description: Bring one Redis server to its place, as the primary it was or as a replica
version_added: "0.1.0"
description:
  - Runs on the server's own host.
  - With O(role=replica) a running server follows the given primary and remembers it. A stopped one is told so in its
    configuration file before it starts, so that it never answers as a second primary.
  - With O(role=primary) a dead primary is started again from the data on its disk. A replica is never promoted; see
    M(redis_failover).
  - A start limit that systemd put on the unit is cleared first.
  - Returns when the server has its role and, as a replica, its link is up (see O(wait_link)).
options:
  role:
    description: The place.
    type: str
    choices: [primary, replica]
    required: true
  primary_host:
    description: Address of the live primary; needed for V(replica).
    type: str
  primary_port:
    description: Port of the live primary; needed for V(replica).
    type: int
  unit:
    description: systemd unit of the server.
    type: str
    required: true
  config_file:
    description: Configuration file of the server.
    type: path
    required: true
  preserve:
    description:
      - Whether to keep a copy of the data also where it provably holds nothing that the primary lacks.
      - Whatever this says, a server that takes writes, or whose data has no provable history in common with the
        primary's, never follows before a copy is kept. Without room for it, the server stays what it is.
      - A running server is saved to an RDB file while its writers wait, and that is checked and kept. Of a stopped
        server the files are kept as they are; files that have not changed since the last copy are not copied again.
      - The copy lies in the folder C(lifeline-preserved) of the data directory, for root only. See O(keep_copies).
    type: bool
    default: false
  fresh:
    description:
      - With V(true) a stopped replica's own data is moved aside before it starts, since it does not load; the replica
        then copies the primary's. What was moved is kept where O(preserve) keeps its copies.
    type: bool
    default: false
  kill:
    description:
      - With V(true) a process that runs and does not answer is killed before the server is started as a replica, so
        that it does not wake as a second primary.
    type: bool
    default: false
  elected:
    description:
      - With V(true) and O(role=primary) a dead server is started as the primary although its configuration file says
        that it follows another one. For an estate of which nothing runs, and whose best copy lies here.
    type: bool
    default: false
  wait_link:
    description:
      - With V(false) a replica is started, or told whom to follow, and left to catch up. Call the module again with
        V(true) to wait until it has. To wait for a primary to which no connection can be opened from this host for
        10 seconds is an error; the link comes by itself when the way is open again.
    type: bool
    default: true
  wait_only:
    description:
      - With V(true) nothing is started, sent or written; the module only waits until the replica's link is up.
    type: bool
    default: false
  accept_data_loss_bytes:
    description:
      - How many bytes of writes that only this server holds may be lost, as a person has said; below 0, however many,
        also where nobody can tell. Only where no copy of them can be kept. Without it, a server whose data cannot be
        kept stays what it is.
    type: int
  keep_copies:
    description:
      - How many copies of the data are kept at most. A copy is only removed when a file C(lifeline-compared) in it says
        that its jobs were compared, or when a newer copy holds all that it does; the newest is never removed.
    type: int
    default: 5
  keep_copies_days:
    description: For how many days such a copy is kept.
    type: float
    default: 30.0
  keep_copies_free:
    description: With less than this percentage of the file system free, such copies go, oldest first.
    type: float
    default: 20.0
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
- name: Let the old primary come back as a replica
  redis_role:
    role: replica
    primary_host: 192.0.2.12
    primary_port: 6379
    unit: redis-server@main.service
    config_file: /etc/redis/redis-main.conf
    preserve: true
    login_user: operator
    login_password: "{{ redis_password_operator }}"

- name: Start a dead primary again
  redis_role:
    role: primary
    unit: redis-server@main.service
    config_file: /etc/redis/redis-main.conf
    login_user: operator
    login_password: "{{ redis_password_operator }}"
"""

RETURN = r"""
commands:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [systemctl start --no-block -- redis-server@main.service]
preserved:
  description: Directory of the copy that was kept, or null.
  returned: always
  type: str
  sample: /var/lib/redis/main/lifeline-preserved/20261123T030000Z
dropped:
  description: Older copies that were removed, by path.
  returned: always
  type: list
  elements: str
  sample: []
quarantine:
  description:
    - What the copy holds; null without one. C(surplus_bytes) are bytes of the replication stream that the primary does
      not have, null when the two have no common history. C(text) says it all.
  returned: always
  type: dict
  sample:
    path: /var/lib/redis/main/lifeline-preserved/20261123T030000Z
    keys: 1200
    bytes: 48210
    surplus_bytes: 731
    text: /var/lib/redis/main/lifeline-preserved/20261123T030000Z (1200 keys, 48210 bytes)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.node import ensure_role
from ansible.module_utils.lifeline.common.spec import connection_spec, run


def main():
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "choices": ["primary", "replica"], "required": True},
            "primary_host": {"type": "str"},
            "primary_port": {"type": "int"},
            "unit": {"type": "str", "required": True},
            "config_file": {"type": "path", "required": True},
            "preserve": {"type": "bool", "default": False},
            "fresh": {"type": "bool", "default": False},
            "kill": {"type": "bool", "default": False},
            "elected": {"type": "bool", "default": False},
            "wait_link": {"type": "bool", "default": True},
            "wait_only": {"type": "bool", "default": False},
            "accept_data_loss_bytes": {"type": "int"},
            "keep_copies": {"type": "int", "default": 5},
            "keep_copies_days": {"type": "float", "default": 30.0},
            "keep_copies_free": {"type": "float", "default": 20.0},
            "timeout": {"type": "float", "default": 60.0},
            **connection_spec(),
        },
        required_if=[("role", "replica", ("primary_host", "primary_port"))],
        supports_check_mode=True,
    )
    run(module, ensure_role)


if __name__ == "__main__":
    main()
