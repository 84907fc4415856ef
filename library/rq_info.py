#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rq_info
short_description: See what RQ queues, workers and lost jobs there are
version_added: "0.1.0"
description:
  - Reads RQ's keys without changing any. RQ's own counters clean up while they count, and run failure callbacks.
options:
  queues:
    description: Names of the queues, or patterns with C(*), C(?) and C([]); all when empty.
    type: list
    elements: str
    default: []
  grace:
    description: Seconds after which a lease that ran out counts as abandoned, and a scheduled job as overdue.
    type: float
    default: 60.0
extends_documentation_fragment: [redis_connection, redis_credentials, rq_connection]
attributes:
  check_mode:
    description: Reads only, so that it is the same.
    support: full
  diff_mode:
    description: Changes nothing, so that there is none.
    support: none
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Look at all queues
  rq_info:
    url: "{{ vault_redis_url }}"
  register: rq
"""

RETURN = r"""
queues:
  description: Counts of each queue; -1 for a key that is of another type than RQ's.
  returned: always
  type: dict
  sample: {default: {length: 3, failed: 12, started: 2, abandoned: 1}}
workers:
  description: Registered workers; C(live) is false for one whose key is gone.
  returned: always
  type: list
  elements: dict
  sample: [{name: w1, live: true, ttl: 400, host: app1, pid: "812", version: 2.6.1, state: idle}]
suspended:
  description: Null, or how long workers stay suspended (C(ttl) null is until they are resumed).
  returned: always
  type: dict
  sample: {ttl: 40}
redis:
  description: What about the server matters to jobs.
  returned: always
  type: dict
  sample: {host: 10.0.0.11, port: 6379, role: master, version: 7.0.15, replicas: 2, aof: true}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.rq import options
from ansible.module_utils.lifeline.rq.info import work
from ansible.module_utils.lifeline.spec import run


def main() -> None:
    """Entry point."""
    run(AnsibleModule(argument_spec=options.info(), supports_check_mode=True), work)


if __name__ == "__main__":
    main()
