#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_write_probe
short_description: Prove that Redis takes a write and gives it back
version_added: "0.1.0"
description:
  - Writes one key, reads it back and deletes it, the way an application would, and keeps trying for O(wait) seconds.
  - Fails when no write was taken in time.
options:
  sentinels:
    description: Ask these sentinels where the primary is, as Sentinel-aware applications do, instead of O(login_host).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Inventory name; the address when left out.
        type: str
      host:
        description: Address.
        type: str
        required: true
      port:
        description: Port.
        type: int
        required: true
  service:
    description: Name that the sentinels monitor the estate under.
    type: str
    default: redis
  url:
    description:
      - The URL to write through, as the application's; used instead of O(url_file), O(login_host) and the login.
      - For a Redis without a host of yours, such as a managed one, from the control node.
    type: str
  url_file:
    description:
      - EnvironmentFile of the application on this host; the URL that it sets says where to write and as whom.
      - Used instead of O(login_host) and all other options of the login. No password passes through Ansible then.
    type: path
  url_variable:
    description: Variable of the URL in O(url_file).
    type: str
    default: REDIS_URL
  url_optional:
    description:
      - Whether it is fine that O(url_file) does not exist. Nothing is written then, and RV(address) is empty.
      - For hosts that may or may not run an application of which this is known.
    type: bool
    default: false
  key_prefix:
    description: Start of the key's name; the login must be allowed to write such keys.
    type: str
    default: "rq:lifeline:canary:"
  wait:
    description: Seconds to keep trying.
    type: float
    default: 10.0
attributes:
  check_mode:
    description: Sends PING and writes nothing.
    support: full
  diff_mode:
    description: Leaves nothing behind, so there is no diff.
    support: none
author:
  - Lifeline contributors (@lifeline)
extends_documentation_fragment:
  - redis_connection
  - redis_credentials
"""

EXAMPLES = r"""
- name: Write as the application does
  redis_write_probe:
    url_file: /etc/rq/redis.env

- name: Write through the local endpoint
  redis_write_probe:
    login_host: 127.0.0.1
    login_user: application
    login_password: "{{ redis_password_application }}"
    tls: true
    ca_certs: /etc/redis/tls/ca.crt
"""

RETURN = r"""
address:
  description: Where the write was taken; empty when O(url_optional) let the host go without.
  returned: success
  type: str
  sample: 127.0.0.1:6379
waited_s:
  description: Seconds until it was.
  returned: success
  type: float
  sample: 0.012
written_at:
  description: When it was, in seconds since 1970 by this host's clock; 0 without a write.
  returned: success
  type: float
  sample: 1790000000.123
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import connection_spec, endpoint_list, run
from ansible.module_utils.lifeline.rq.keys import CANARY
from ansible.module_utils.lifeline.verify.write_probe import prove


def main():
    module = AnsibleModule(
        argument_spec={
            "sentinels": endpoint_list(default=[]),
            "service": {"type": "str", "default": "redis"},
            "url": {"type": "str", "no_log": True},
            "url_file": {"type": "path"},
            "url_variable": {"type": "str", "default": "REDIS_URL"},
            "url_optional": {"type": "bool", "default": False},
            "key_prefix": {"type": "str", "default": CANARY, "no_log": False},
            "wait": {"type": "float", "default": 10.0},
            **connection_spec(),
        },
        supports_check_mode=True,
    )
    run(module, prove)


if __name__ == "__main__":
    main()
