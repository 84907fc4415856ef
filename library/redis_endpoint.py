#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_endpoint
short_description: Run an HAProxy of its own with a given configuration
version_added: "0.1.0"
description:
  - Keeps C(/etc/NAME/haproxy.cfg), C(/etc/NAME/ca.crt) and the unit C(NAME.service), and keeps the unit enabled and
    running with just that configuration. The distribution's C(/etc/haproxy) and C(haproxy.service) are not touched.
  - A new configuration must pass C(haproxy -c) before it takes the old one's place. The process is then reloaded; it is
    restarted only when its unit changed.
  - The running process is asked which configuration it has loaded, so a reload that is missing or that failed is found.
  - When HAProxy is not installed the result says so and nothing is done, so that the caller can install it.
options:
  name:
    description: Name of unit and directories.
    type: str
    default: redis-endpoint
  state:
    description: Whether the endpoint should be there. V(absent) removes unit and files.
    type: str
    choices: [present, absent]
    default: present
  config:
    description: All of C(haproxy.cfg). It holds a password, so it is never shown.
    type: str
  ca:
    description: CA certificates in PEM format, for C(ca.crt). Without it there is no such file.
    type: str
  unit:
    description: All of the unit file.
    type: str
  only_owned:
    description: Bring the endpoint back only where the mark of Lifeline says that it made one on this host; else fail.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says exactly what would change and touches nothing. The configuration is checked if HAProxy is there.
    support: full
  diff_mode:
    description: Shows files and the unit's state, never the configuration.
    support: full
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Give applications one address
  redis_endpoint:
    config: "{{ lookup('ansible.builtin.template', 'haproxy.cfg.j2') }}"
    unit: "{{ lookup('ansible.builtin.template', 'redis-endpoint.service.j2') }}"
    ca: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
"""

RETURN = r"""
installed:
  description: Whether HAProxy is installed. When it is not, nothing was done.
  returned: always
  type: bool
changes:
  description: What was changed, or would be in check mode, in plain words.
  returned: always
  type: list
  elements: str
  sample: [write /etc/redis-endpoint/haproxy.cfg, reload redis-endpoint.service]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.endpoint import work
from ansible.module_utils.lifeline.common.spec import run


def main():
    spec = {
        "name": {"type": "str", "default": "redis-endpoint"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "config": {"type": "str", "no_log": True},
        "ca": {"type": "str"},
        "unit": {"type": "str"},
        "only_owned": {"type": "bool", "default": False},
    }
    run(AnsibleModule(spec, required_if=[("state", "present", ("config", "unit"))], supports_check_mode=True), work)


if __name__ == "__main__":
    main()
