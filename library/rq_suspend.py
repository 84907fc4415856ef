#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rq_suspend
short_description: Suspend RQ's workers for a while, wait until they are idle, resume them
version_added: "0.1.0"
description:
  - A suspension that was there before is somebody else's, and is neither shortened nor taken away.
  - Every suspension made here ends by itself after O(ttl), whatever becomes of the playbook.
  - Jobs are accepted and wait in their queues meanwhile. A worker that is idle when it is suspended takes one more job.
options:
  state:
    description: What workers should be.
    type: str
    choices: [suspended, resumed]
    default: suspended
  ttl:
    description: Seconds after which workers go on in any case.
    type: int
    default: 600
  drain_timeout:
    description: Seconds to wait until no worker has a job. With V(0) the busy ones are only named.
    type: float
    default: 0.0
extends_documentation_fragment: [redis_connection, redis_credentials, rq_connection]
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: There is one key, and RV(ignore:changed) says it.
    support: none
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Let workers finish what they have and start nothing new
  rq_suspend:
    nodes: "{{ nodes }}"
    drain_timeout: 60
    login_user: operator
    login_password: "{{ redis_password_operator }}"

- name: Let them go on
  rq_suspend:
    state: resumed
    nodes: "{{ nodes }}"
    login_user: operator
    login_password: "{{ redis_password_operator }}"
"""

RETURN = r"""
kept:
  description: Whether workers are suspended by somebody else, and stay so.
  returned: always
  type: bool
  sample: false
busy:
  description: Workers that have a job.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run
from ansible.module_utils.lifeline.rq.suspend import specification, work


def main() -> None:
    """Entry point."""
    run(AnsibleModule(argument_spec=specification(), supports_check_mode=True), work)


if __name__ == "__main__":
    main()
