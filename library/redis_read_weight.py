#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_read_weight
short_description: Set which share of the reads an endpoint sends to a server
version_added: "0.1.0"
description:
  - Runs on an application host whose endpoint (M(redis_endpoint)) serves reads from replicas.
  - The weight holds until the endpoint is reloaded; what is to last is in C(redis_endpoint_replica_weights).
options:
  name:
    description: Name of the endpoint.
    type: str
    default: redis-endpoint
  server:
    description: Inventory name of the server.
    type: str
    required: true
  weight:
    description: Its weight, from 0 to 256. With 0 it gets no new connections and keeps those that it has.
    type: int
    required: true
attributes:
  check_mode:
    description: Only asks for the weight.
    support: full
  diff_mode:
    description: RV(before) says what it was.
    support: none
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Let a server that has just come back take a tenth of the reads
  redis_read_weight:
    server: redis2
    weight: 10
"""

RETURN = r"""
served:
  description: Whether the endpoint serves reads at all.
  returned: always
  type: bool
  sample: true
before:
  description: The weight before. Null without reads.
  returned: always
  type: int
  sample: 100
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.endpoint import weigh
from ansible.module_utils.lifeline.common.spec import run


def main() -> None:
    """Entry point."""
    spec = {
        "name": {"type": "str", "default": "redis-endpoint"},
        "server": {"type": "str", "required": True},
        "weight": {"type": "int", "required": True},
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), weigh)


if __name__ == "__main__":
    main()
