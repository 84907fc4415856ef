#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_failover
short_description: Make sure that an estate has a live primary
version_added: "0.1.0"
description:
  - Looks at the estate itself. When it has a live primary that the others agree on, nothing is changed.
  - Otherwise the replica with the most data is promoted. Where there is Sentinel it is asked to do so, once most
    sentinels agree that the primary is down, or at once with O(confirmed_dead). Without Sentinel the module promotes,
    points the other replicas at the new primary, and writes both into their configuration.
  - It refuses when there are several primaries, when no replica is fit, when only a minority of sentinels answers, and
    (without Sentinel) when a newer copy may be on a node that does not answer.
options:
  primary:
    description: V(any) is satisfied by any live primary.
    type: str
    choices: [any]
    default: any
  confirmed_dead:
    description: Whether the old primary is known to be dead from its own host, so that nobody need wait for Sentinel.
    type: bool
    default: false
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 30.0
attributes:
  check_mode:
    description: Looks, and returns the commands it would send.
    support: full
  diff_mode:
    description: The result names the old and the new primary.
    support: none
author:
  - Lifeline contributors (@lifeline)
extends_documentation_fragment:
  - redis_estate
  - redis_credentials
"""

EXAMPLES = r"""
- name: Give the estate a primary
  redis_failover:
    nodes: "{{ nodes }}"
    sentinels: "{{ sentinels }}"
    service: orders
    login_user: operator
    login_password: "{{ redis_password_operator }}"
"""

RETURN = r"""
primary:
  description: The live primary. Null in check mode when Sentinel would choose it.
  returned: always
  type: dict
  sample: {name: redis2, host: 192.0.2.12, port: 6379}
commands:
  description: Commands that were sent, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [SENTINEL FAILOVER orders]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.failover import ensure_primary
from ansible.module_utils.lifeline.spec import credentials_spec, estate_spec, run


def main():
    module = AnsibleModule(
        argument_spec={
            **estate_spec(),
            "primary": {"type": "str", "choices": ["any"], "default": "any"},
            "confirmed_dead": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 30.0},
            **credentials_spec(),
        },
        supports_check_mode=True,
    )
    run(module, ensure_primary)


if __name__ == "__main__":
    main()
