#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_url
short_description: Point the Redis URL in an EnvironmentFile at another server
version_added: "0.1.0"
description:
  - For applications that know one fixed URL and go through no endpoint.
  - Only address and port are changed. User, password, database and options stay, and pass through no task.
options:
  path:
    description: EnvironmentFile of the application.
    type: path
    required: true
  variables:
    description: Variables that hold the URL. Those that the file does not set are left out.
    type: list
    elements: str
    default: [REDIS_URL, RQ_REDIS_URL]
  host:
    description: The new address.
    type: str
    required: true
  port:
    description: The new port.
    type: int
    required: true
attributes:
  check_mode:
    description: Says whether the file would change.
    support: full
  diff_mode:
    description: The file holds a password, so only addresses are shown.
    support: full
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Let the application connect to the new primary
  redis_url:
    path: /etc/rq/redis.env
    host: 192.0.2.12
    port: 6379
"""

RETURN = r"""
before:
  description: Where the URLs pointed.
  returned: always
  type: dict
  sample: {REDIS_URL: "192.0.2.11:6379"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.url_file import point
from ansible.module_utils.lifeline.common.spec import run


def main() -> None:
    """Entry point."""
    spec = {
        "path": {"type": "path", "required": True},
        "variables": {"type": "list", "elements": "str", "default": ["REDIS_URL", "RQ_REDIS_URL"]},
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), point)


if __name__ == "__main__":
    main()
