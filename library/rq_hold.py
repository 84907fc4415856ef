#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rq_hold
short_description: Keep failed RQ jobs from expiring
version_added: "0.1.0"
description:
  - Failed jobs carry a time after which they vanish (C(failure_ttl); some applications give an hour). This keeps the
    selected ones, their results and the lists of their dependents, until they are released or requeued.
  - RQ and M(rq_requeue) treat held jobs like any failed ones. Jobs that a person stopped are held as well.
options:
  state:
    description:
      - V(released) gives the jobs their times back, with an hour at least, so that none vanishes at once.
    type: str
    choices: [held, released]
    default: held
  batch_size:
    description: Most jobs in one batch.
    type: int
    default: 200
  max_stall_ms:
    description: Batches that take the server longer than this are made smaller.
    type: float
    default: 3.0
  queues:
    description: Names of the queues, or patterns with C(*), C(?) and C([]). All queues must be asked for with V(['*']).
    type: list
    elements: str
    required: true
  all_jobs:
    description: Must be true when no filter is given.
    type: bool
    default: false
  job_ids:
    description: Only these jobs.
    type: list
    elements: str
    default: []
  functions:
    description: Only jobs that call one of these functions; names or patterns.
    type: list
    elements: str
    default: []
  exclude_functions:
    description: No jobs that call one of these functions; names or patterns.
    type: list
    elements: str
    default: []
  exception:
    description: Only jobs whose traceback this regular expression is found in.
    type: str
  failed_after:
    description: Only jobs that failed at this time or later; ISO 8601, or Unix seconds.
    type: str
  failed_before:
    description: Only jobs that failed at this time or earlier.
    type: str
  older_than:
    description: Only jobs that failed at least this long ago; C(90s), C(15m), C(2h) or C(1d).
    type: str
  worker:
    description: Only jobs that one of these workers ran.
    type: list
    elements: str
    default: []
extends_documentation_fragment: [redis_connection, redis_credentials, rq_connection]
attributes:
  check_mode:
    description: Selects by the same code and reads only.
    support: full
  diff_mode:
    description: Shows how many jobs are held.
    support: full
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Keep what failed since the outage began
  rq_hold:
    url: "{{ vault_redis_url }}"
    queues: ['*']
    failed_after: "2026-11-23T03:10:00Z"
"""

RETURN = r"""
held:
  description: How many jobs are held now that were not before.
  returned: when O(state) is held
  type: int
  sample: 1532
released:
  description: How many jobs may expire again.
  returned: when O(state) is released
  type: int
  sample: 1532
unchanged:
  description: How many were held already, or never expire.
  returned: always
  type: int
  sample: 0
gone:
  description: How many entries of the failed registries have lost their job already.
  returned: always
  type: int
  sample: 12
left:
  description: How many jobs were left, by reason.
  returned: always
  type: dict
  sample: {missing: 12}
queues:
  description: How many jobs of which queue.
  returned: always
  type: dict
  sample: {default: 1532}
duration:
  description: Seconds that it took.
  returned: always
  type: float
  sample: 0.4
redis:
  description: Which server was the primary.
  returned: always
  type: dict
  sample: {host: 10.0.0.11, port: 6379, role: master}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run
from ansible.module_utils.lifeline.rq import options
from ansible.module_utils.lifeline.rq.hold import work


def main() -> None:
    """Entry point."""
    run(AnsibleModule(argument_spec=options.hold(), supports_check_mode=True), work)


if __name__ == "__main__":
    main()
