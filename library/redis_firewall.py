#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_firewall
short_description: Let only known hosts reach the ports of Redis and Sentinel
version_added: "0.1.0"
description:
  - Keeps one nftables table, C(inet lifeline_redis), the file that it is loaded from, and the unit
    C(redis-firewall.service) that loads it when the host boots. No other table is read or touched.
  - Every rule names a port of O(services), so nothing else on the host is affected. Loopback always passes.
  - Compares the live table, so a rule that somebody changed or deleted by hand is found and repaired.
    The new rules are tried in a network namespace of their own and then loaded in one transaction.
  - When C(nft) is not installed the result says so and nothing is done, so that the caller can install it.
options:
  state:
    description: Whether the table should be there. V(absent) removes table, file and unit.
    type: str
    choices: [present, absent]
    default: present
  services:
    description: The services of this host. An empty list is the same as O(state=absent).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the service, letters, digits and underscores; it begins the names of its sets.
        type: str
        required: true
      ports:
        description: All its ports. Nobody but peers, clients and loopback reaches them.
        type: list
        elements: int
        required: true
      client_ports:
        description: Those of O(services[].ports) that clients may use as well.
        type: list
        elements: int
        required: true
      peers:
        description: Addresses, networks in CIDR notation, or host names that may use all ports.
        type: list
        elements: str
        required: true
      clients:
        description: The same for those that may use O(services[].client_ports) only.
        type: list
        elements: str
        required: true
  ssh_port:
    description:
      - Port of SSH on this host, which is refused as a port of a service.
      - The port of the SSH session that runs the module is found and refused in any case.
    type: int
    default: 22
  only_owned:
    description:
      - Bring the table back only where the mark of Lifeline says that it made one on this host, and fail elsewhere.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says exactly what would change; the live ruleset and the disk are not touched.
    support: full
  diff_mode:
    description: Shows the live table, the file and the unit's state, before and after.
    support: full
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Guard a Redis with its Sentinel
  redis_firewall:
    services:
      - name: redis_6379
        ports: [6379, 16379, 26379]
        client_ports: [6379, 26379]
        peers: [192.0.2.11, 192.0.2.12, "2001:db8::13"]
        clients: [192.0.2.64/28]

- name: Take the guard away
  redis_firewall:
    state: absent
"""

RETURN = r"""
installed:
  description: Whether nft is installed. When it is not, nothing was done.
  returned: always
  type: bool
changes:
  description: What was changed, or would be in check mode, in plain words.
  returned: always
  type: list
  elements: str
  sample: [load table inet lifeline_redis]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.firewall import work
from ansible.module_utils.lifeline.common.spec import run


def main():
    service = {
        "name": {"type": "str", "required": True},
        "ports": {"type": "list", "elements": "int", "required": True},
        "client_ports": {"type": "list", "elements": "int", "required": True},
        "peers": {"type": "list", "elements": "str", "required": True},
        "clients": {"type": "list", "elements": "str", "required": True},
    }
    spec = {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "services": {"type": "list", "elements": "dict", "default": [], "options": service},
        "ssh_port": {"type": "int", "default": 22},
        "only_owned": {"type": "bool", "default": False},
    }
    run(AnsibleModule(spec, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
