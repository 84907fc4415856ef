#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel
short_description: Bring a running Sentinel to what it should monitor, by commands
version_added: "0.1.0"
description:
  - Monitors a primary where the Sentinel does not yet, and sets only the settings that differ. Its file is never
    written; Sentinel does that itself.
  - Does not touch what the Sentinel has learned. A monitored address is replaced only when it is no primary any more
    and O(primary_host) is one; the role of both is asked first.
  - Waits until the Sentinel sees all replicas and all other sentinels and its quorum holds.
options:
  name:
    description: Name that the primary is monitored under.
    type: str
    required: true
  primary_host:
    description: Address of the live primary.
    type: str
    required: true
  primary_port:
    description: Port of the live primary.
    type: int
    default: 6379
  quorum:
    description: Sentinels that must agree that the primary is down.
    type: int
    required: true
  settings:
    description: Settings for C(SENTINEL SET), such as C(down-after-milliseconds).
    type: dict
    default: {}
  auth_user:
    description: ACL user that the Sentinel logs in to the servers as.
    type: str
  auth_pass:
    description:
      - Password of O(auth_user). Without blanks, quotes and backslashes, which Sentinel would write to its file in a
        form that it cannot read; the filter C(lifeline_stored_password) makes such a password.
      - No command tells the one in force, so it is compared with the one in the Sentinel's file.
    type: str
  sentinel_user:
    description: ACL user that the Sentinel logs in to other sentinels as.
    type: str
  sentinel_pass:
    description: Password of O(sentinel_user), of the same kind as O(auth_pass).
    type: str
  config_file:
    description: The Sentinel's file. Without it, the one that the Sentinel names.
    type: path
  acl_file:
    description: The Sentinel's ACL file. It is loaded when the users in force differ from it.
    type: path
  start_files:
    description: Files that count at the start only (certificates). Those changed since are in RV(restart_required).
    type: list
    elements: path
    default: []
  start_settings:
    description:
      - Settings of the Sentinel's file that count at the start only, such as C(bind) and C(port). No command changes
        them; those that differ are in RV(restart_required).
    type: dict
    default: {}
  replicas:
    description: Replicas that the Sentinel must come to see.
    type: int
    default: 0
  sentinels:
    description: Sentinels there are, this one included, that it must come to see.
    type: int
    default: 1
  wait_after_change:
    description:
      - Whether to wait also in a call that changed something.
      - V(false) leaves that to a following call, so that all sentinels of an estate have their new passwords before one
        waits for the others.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for the Sentinel to answer, and for it to see all.
    type: float
    default: 30.0
extends_documentation_fragment:
  - redis_connection
  - redis_credentials
attributes:
  check_mode:
    description: Says exactly what would change and touches nothing; does not wait.
    support: full
  diff_mode:
    description: Shows each setting and user that changes, never a secret.
    support: full
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Monitor the primary of the estate
  redis_sentinel:
    login_port: 26379
    login_user: operator
    login_password: "{{ redis_password_operator }}"
    name: redis
    primary_host: 192.0.2.11
    quorum: 2
    settings:
      down-after-milliseconds: 5000
      failover-timeout: 60000
    auth_user: sentinel
    auth_pass: "{{ redis_password_sentinel | lifeline_stored_password }}"
    replicas: 2
    sentinels: 3
"""

RETURN = r"""
commands:
  description: What was sent, or would be in check mode, secrets hidden.
  returned: always
  type: list
  elements: str
  sample: [SENTINEL SET redis down-after-milliseconds 5000]
restart_required:
  description:
    - Those of O(start_files) that were changed since the Sentinel started, and those of O(start_settings) that its
      file has otherwise.
  returned: always
  type: list
  elements: str
primary:
  description: C(host) and C(port) that it monitors.
  returned: when it monitors O(name)
  type: dict
  sample: {host: 192.0.2.11, port: 6379}
replicas:
  description: Number of replicas that it sees.
  returned: when it monitors O(name)
  type: int
sentinels:
  description: Number of sentinels that it sees, itself included.
  returned: when it monitors O(name)
  type: int
silent_sentinels:
  description: Other sentinels that do not answer this one.
  returned: when it waited
  type: list
  elements: str
quorum:
  description: What C(SENTINEL CKQUORUM) says.
  returned: when it waited
  type: str
  sample: OK 3 usable Sentinels. Quorum and failover authorization can be reached
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.sentinel import work
from ansible.module_utils.lifeline.common.spec import connection_spec, run, unlogged


def main():
    spec = {
        "name": {"type": "str", "required": True},
        "primary_host": {"type": "str", "required": True},
        "primary_port": {"type": "int", "default": 6379},
        "quorum": {"type": "int", "required": True},
        "settings": unlogged({"type": "dict", "default": {}}),
        "auth_user": {"type": "str"},
        "auth_pass": {"type": "str", "no_log": True},
        "sentinel_user": {"type": "str"},
        "sentinel_pass": {"type": "str", "no_log": True},
        "config_file": {"type": "path"},
        "acl_file": {"type": "path"},
        "start_files": {"type": "list", "elements": "path", "default": []},
        "start_settings": unlogged({"type": "dict", "default": {}}),
        "replicas": {"type": "int", "default": 0},
        "sentinels": {"type": "int", "default": 1},
        "wait_after_change": {"type": "bool", "default": True},
        "wait_timeout": {"type": "float", "default": 30.0},
        **connection_spec(),
    }
    run(AnsibleModule(spec, supports_check_mode=True), work, shown=("settings", "start_settings"))


if __name__ == "__main__":
    main()
