#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_health
short_description: Collect one host's evidence about a Redis estate
version_added: "0.1.0"
description:
  - Looks, from the host it runs on, at every server and sentinel of the estate, at the host's own systemd units, and at
    the data on its disk, in one call.
  - It changes nothing and does not fail because something is down. A dead server, a refused login or a missing Python
    library is part of the evidence.
  - The evidence holds no secret.
options:
  name:
    description: Inventory name of the host that the module runs on.
    type: str
    required: true
  units:
    description: systemd units of this host to look at.
    type: list
    elements: str
    default: []
  config_file:
    description: Configuration file of this host's Redis server; says where its data is.
    type: path
attributes:
  check_mode:
    description: Reads only, so a check run is the same as a real one.
    support: full
  diff_mode:
    description: Changes nothing, so there is no diff.
    support: none
author:
  - Lifeline contributors (@lifeline)
extends_documentation_fragment:
  - redis_estate
  - redis_credentials
notes:
  - A login is enough that may run INFO on the servers, and INFO and SENTINEL on the sentinels.
"""

EXAMPLES = r"""
- name: Look at the estate from this host
  redis_health:
    name: "{{ inventory_hostname }}"
    nodes:
      - {name: redis1, host: 192.0.2.11, port: 6379}
      - {name: redis2, host: 192.0.2.12, port: 6379}
    service: orders
    units: [redis-server@main.service]
    config_file: /etc/redis/redis-main.conf
    login_user: observer
    login_password: "{{ redis_password_observer }}"
"""

RETURN = r"""
evidence:
  description: What this host saw.
  returned: always
  type: dict
  contains:
    version:
      description: Version of the evidence's format.
      type: int
      sample: 1
    host:
      description: O(name).
      type: str
      sample: redis1
    service:
      description: O(service).
      type: str
      sample: orders
    time:
      description: This host's clock, in seconds since 1970.
      type: float
      sample: 1790000000.123
    took_s:
      description: Seconds that the look took.
      type: float
      sample: 0.041
    library:
      description: Whether this host has the Python library redis. Without it, nodes and sentinels are not asked.
      type: bool
      sample: true
    nodes:
      description: By name, what each server says of itself, or why it does not answer.
      type: dict
      sample: {redis1: {reachable: true, role: master, offset: 1234}}
    sentinels:
      description: By name, what each sentinel says of the estate, or why it does not answer.
      type: dict
      sample: {redis1: {reachable: true, primary: {host: 192.0.2.11, port: 6379}, quorum_ok: true}}
    units:
      description: By unit, its state.
      type: dict
      sample: {redis-server@main.service: {active: active, sub: running, result: success, pid: 612}}
    disk:
      description: Bytes free in the folders that configuration, data and logs go to.
      type: dict
      sample: {/etc: 8000000000, /var/lib: 8000000000, /var/log: 8000000000}
    files:
      description: What O(config_file) says about persistence, and what lies on disk (sizes in bytes).
      type: dict
      sample: {aof_configured: true, replicaof: null, aof: {size: 1048576, manifest: true}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.client import Credentials
from ansible.module_utils.lifeline.observe import collect, endpoints
from ansible.module_utils.lifeline.spec import credentials_spec, estate_spec, run


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            **estate_spec(),
            "units": {"type": "list", "elements": "str", "default": []},
            "config_file": {"type": "path"},
            **credentials_spec(),
        },
        supports_check_mode=True,
    )
    run(module, look)


def look(params, check):
    evidence = collect(
        params["name"],
        endpoints(params["nodes"]),
        endpoints(params["sentinels"]),
        params["service"],
        Credentials.from_params(params),
        params["units"],
        params["config_file"],
    )
    return {"evidence": evidence}


if __name__ == "__main__":
    main()
