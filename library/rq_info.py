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
  gather:
    description:
      - What to find out. V(queues), V(workers), V(schedulers) and V(redis) take the same time however many jobs there
        are.
      - V(lost) is what M(rq_requeue) would put back at once, found by the same code in O(sample) of them.
      - V(orphans) reads all keys of RQ, V(integrity) all queues.
    type: list
    elements: str
    choices: [queues, workers, schedulers, lost, redis, orphans, integrity]
    default: [queues, workers, schedulers, lost, redis]
  grace:
    description: Seconds after which a lease that ran out counts as abandoned, and a scheduled job as overdue.
    type: float
    default: 60.0
  sample:
    description: Most jobs to look at for V(lost).
    type: int
    default: 10000
  top:
    description: How many errors and functions to name.
    type: int
    default: 20
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
  description:
    - Counts of each queue; -1 for a key that is of another type than RQ's. C(oldest_age) is how long its next job has
      waited.
    - C(lease_expired) may still be held by a worker; RV(lost) has looked closer.
  returned: when gathered
  type: dict
  sample: {default: {length: 3, failed: 12, started: 2, lease_expired: 1, scheduled: 0, oldest_age: 4.1}}
rate_limits:
  description: RQ 3's limiters; jobs that hold a slot, and jobs that wait for one.
  returned: with V(queues)
  type: dict
  sample: {api: {allowed: 2, waiting: 7}}
workers:
  description: Registered workers; C(live) is false for one whose key is gone.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: w1, live: true, ttl: 400, heartbeat_age: 3.2, hostname: app1, pid: "812", state: idle}]
suspended:
  description: Null, or how long workers stay suspended (C(ttl) null is until they are resumed).
  returned: always
  type: dict
  sample: {ttl: 40}
schedulers:
  description: Seconds left of each scheduler's lease; a queue without a live scheduler is not there.
  returned: when gathered
  type: dict
  sample: {default: 55}
maintenance:
  description: Seconds left of the locks that keep workers from cleaning up a queue.
  returned: with V(schedulers)
  type: dict
  sample: {default: 830}
lost:
  description:
    - What could be put back now, by source, queue, error and function; what would be left, and why.
    - C(left.completed) are jobs that had probably done their work. C(complete) is false when O(sample) was too small.
  returned: when gathered
  type: dict
  sample: {sources: {failed: 12}, queues: {default: {failed: 12}}, left: {stopped: 1}, complete: true}
redis:
  description: What about the server matters to jobs.
  returned: when gathered
  type: dict
  sample: {host: 10.0.0.11, port: 6379, role: master, version: 7.0.15, replicas: 2, lag_bytes: 0, aof: true}
unrecoverable:
  description: What no tool can put back, as far as the server's counters show it.
  returned: with V(redis)
  type: list
  elements: str
  sample: [There is no AOF.]
orphans:
  description: Jobs that say that they are somewhere where they are not, by status, and the first 100 of them.
  returned: when gathered
  type: dict
  sample: {counts: {queued: 2}, can_be_put_back: 2, jobs: [{id: 4f1c, queue: default, status: queued}]}
integrity:
  description:
    - For each queue; ids without a job (C(ghosts)), second copies (C(duplicates)), and jobs that are over and would
      run again.
  returned: when gathered
  type: dict
  sample: {default: {ghosts: 0, duplicates: 0, over: {canceled: 1}, wrong_type: 0}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run
from ansible.module_utils.lifeline.rq import options
from ansible.module_utils.lifeline.rq.info import work


def main() -> None:
    """Entry point."""
    run(AnsibleModule(argument_spec=options.info(), supports_check_mode=True), work)


if __name__ == "__main__":
    main()
