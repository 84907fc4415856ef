#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_config
short_description: Bring a running Redis or Valkey to its settings, users and certificate
version_added: "0.1.0"
description:
  - Compares settings with the running server and with its configuration file, and changes only what differs. Values
    are compared by meaning, so V(1gb) is V(1073741824).
  - What can change live does, in one C(CONFIG SET), and C(CONFIG REWRITE) keeps it. What takes a restart is edited in
    the file and named in RV(restart_required); the module never restarts anything.
  - Loads a changed ACL file and changed TLS files without a restart, and proves that they are in force.
  - C(appendonly) is switched on live, and reaches the file only once the append only file is complete; starting an
    RDB server with C(appendonly yes) in its file would make it start empty.
options:
  settings:
    description: Settings by name. Lists are joined by blanks, booleans become C(yes) and C(no).
    type: dict
    default: {}
  secret_settings:
    description: The same for values that must never be shown, such as C(masterauth).
    type: dict
    default: {}
  config_file:
    description: The server's configuration file on this host. Without it only running values are compared.
    type: path
  acl_file:
    description: The server's ACL file on this host. It is loaded when the users in force differ from it.
    type: path
  allow_down:
    description: Whether a server that is down is accepted; then O(config_file) alone is converged.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait for a server that is starting or loading.
    type: float
    default: 10.0
  wait_link:
    description: Whether to wait also until a replica's link to its primary is up.
    type: bool
    default: false
  idle_timeout:
    description:
      - Seconds after which nothing is waited for any more though O(wait_timeout) is not over, because no process
        listens, or, with O(wait_link), because a replica without a link copies nothing.
    type: float
    default: 60.0
  rewrite_timeout:
    description: Seconds that switching C(appendonly) on may take.
    type: float
    default: 300.0
  follow_host:
    description:
      - Address of the live primary, when this server is to be a replica.
      - Only an empty server without replicas of its own is made to follow it. One that is a replica already is left
        alone, and a primary that holds data is refused.
    type: str
  follow_port:
    description: Port of O(follow_host).
    type: int
    default: 6379
  tls_reload:
    description: Whether to load the TLS files again even though the right certificate is served (the CA changed).
    type: bool
    default: false
  tls_probe_host:
    description: Address at which the served certificate is looked at.
    type: str
    default: 127.0.0.1
  start_files:
    description: Files that count at the start only, such as the unit. Those changed since are in RV(restart_required).
    type: list
    elements: path
    default: []
  login_password_previous:
    description: Password to try when O(login_password) is refused, while that is being changed.
    type: str
extends_documentation_fragment:
  - redis_connection
  - redis_credentials
attributes:
  check_mode:
    description: Says exactly what would change and touches nothing.
    support: full
  diff_mode:
    description: Shows each setting and user that changes, never a secret.
    support: full
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Converge the settings of a server
  redis_config:
    login_unix_socket: /run/redis-main/redis.sock
    login_user: operator
    login_password: "{{ redis_password_operator }}"
    config_file: /etc/redis/redis-main.conf
    settings:
      maxmemory: 2gb
      maxmemory-policy: noeviction
      save: [3600, 1, 300, 100]
    secret_settings:
      masterauth: "{{ redis_password_replica | lifeline_stored_password }}"
  register: configuration

- name: Wait until a restarted replica has caught up
  redis_config:
    login_unix_socket: /run/redis-main/redis.sock
    wait_timeout: 120
    wait_link: true
"""

RETURN = r"""
reachable:
  description: Whether the server answered.
  returned: always
  type: bool
error:
  description: Why it did not answer.
  returned: when it is down and O(allow_down) is set
  type: str
  sample: "refused: Error 111 connecting to 127.0.0.1:6379. Connection refused."
role:
  description: primary, replica or unknown, before anything was changed.
  returned: when it is reachable
  type: str
  sample: primary
restart_required:
  description: Settings and files that come into force at a restart only.
  returned: always
  type: list
  elements: str
  sample: [databases]
restart_objection:
  description: Why a restart now would lose data or hang; empty when it would not.
  returned: when it is reachable
  type: str
deferred:
  description: Settings that were left as they are, with the reason.
  returned: always
  type: dict
commands:
  description: What was sent, or would be in check mode, secrets hidden.
  returned: always
  type: list
  elements: str
  sample: ["CONFIG SET maxmemory 2gb", CONFIG REWRITE]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.configure import work
from ansible.module_utils.lifeline.common.spec import connection_spec, run, unlogged


def main():
    spec = {
        "settings": unlogged({"type": "dict", "default": {}}),
        "secret_settings": {"type": "dict", "default": {}, "no_log": True},
        "config_file": {"type": "path"},
        "acl_file": {"type": "path"},
        "allow_down": {"type": "bool", "default": False},
        "wait_timeout": {"type": "float", "default": 10.0},
        "wait_link": {"type": "bool", "default": False},
        "idle_timeout": {"type": "float", "default": 60.0},
        "rewrite_timeout": {"type": "float", "default": 300.0},
        "follow_host": {"type": "str"},
        "follow_port": {"type": "int", "default": 6379},
        "tls_reload": {"type": "bool", "default": False},
        "tls_probe_host": {"type": "str", "default": "127.0.0.1"},
        "start_files": {"type": "list", "elements": "path", "default": []},
        "login_password_previous": {"type": "str", "no_log": True},
        **connection_spec(),
    }
    run(AnsibleModule(spec, supports_check_mode=True), work, shown=("settings",))


if __name__ == "__main__":
    main()
