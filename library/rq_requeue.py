#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rq_requeue
short_description: Put lost RQ jobs back into their queues
version_added: "0.1.0"
description:
  - Finds the jobs of RQ queues that failed or were abandoned, and puts them back, each exactly once.
  - Jobs are moved by a script on the server, in small batches that happen as a whole or not at all, and only if a job
    still is what it was when it was chosen. Ended at any point, the next run goes on with the rest.
  - Works on the data that RQ 1.10 to 3.0 write, whatever their serializer. RQ need not be installed, and no job is
    unpickled.
  - Never touches suspension, workers or locks, and never runs callbacks.
options:
  sources:
    description:
      - Where to take jobs from.
      - V(failed) is the failed registry.
      - V(abandoned) are jobs whose worker is gone, told by a lease that ran out O(grace) seconds ago and that nobody
        holds on to.
      - V(intermediate) are jobs that a worker of one queue took and did not start, seen twice O(grace) seconds apart.
      - V(orphaned) are jobs that say that they are queued, started or failed and are in no queue and no registry, seen
        twice O(grace) seconds apart. Finding them reads all keys of RQ once.
      - V(scheduled_overdue) are jobs that were due O(grace) seconds ago, of queues without a live scheduler.
      - V(deferred_ready) are jobs whose parents have all finished.
      - V(ready) are jobs that RQ 3 was about to enqueue O(grace) seconds ago.
    type: list
    elements: str
    choices: [failed, abandoned, intermediate, orphaned, scheduled_overdue, deferred_ready, ready]
    default: [failed]
  allow_missing_parents:
    description: For V(deferred_ready), whether a parent whose data is gone counts as finished, as RQ itself has it.
    type: bool
    default: false
  missing:
    description: What to do about entries of a registry whose job is gone; V(fail) refuses before anything is changed.
    type: str
    choices: [ignore, prune, fail]
    default: ignore
  rate:
    description: Most jobs a second, for what the jobs themselves must not overrun; V(0) is no limit.
    type: float
    default: 0.0
  wait_replicas:
    description: Replicas that must confirm each batch; with fewer the run ends and says what it had done.
    type: int
    default: 0
  wait_timeout:
    description: Milliseconds to wait for them.
    type: int
    default: 1000
  dedupe:
    description: Whether to remove second copies of the requeued jobs from their queues afterwards.
    type: bool
    default: false
  time_limit:
    description:
      - Seconds after which to return with RV(finished) false and RV(resume), so that progress can be shown.
      - V(0) is no limit.
      - The action plugin of the same name does this by itself.
    type: float
    default: 0.0
  resume:
    description: What a call with O(time_limit) returned as RV(resume), to go on from there with the same options.
    type: dict
  max_jobs:
    description: More jobs than this are refused before anything is changed, or truncated; V(0) is no limit.
    type: int
    default: 10000
  on_excess:
    description: What to do when more than O(max_jobs) are selected; V(truncate) takes the first in registry order.
    type: str
    choices: [fail, truncate]
    default: fail
  max_requeues:
    description: Leave jobs that were requeued this often already. Counted only in runs that give it.
    type: int
  position:
    description: Which end of the queue; both keep the jobs' order.
    type: str
    choices: [back, front]
    default: back
  ttl_policy:
    description:
      - Failed jobs carry the time after which they vanish. V(persist) takes it away, so that a job cannot vanish from
        its queue, V(rq) leaves it, as RQ does. A job's own C(ttl) applies either way.
    type: str
    choices: [persist, rq]
    default: persist
  retries:
    description: V(keep) leaves a job the retries that it has left (mostly none); a number gives it that many.
    type: str
    default: keep
  grace:
    description:
      - Seconds that a lease must have run out for, and between the two looks at what needs two.
      - V(0) takes O(workers_stopped).
    type: float
    default: 60.0
  workers_stopped:
    description:
      - Say that all workers are stopped, so that every lease is taken as abandoned, whatever its age.
      - Refused while a worker of these queues has a live key.
    type: bool
    default: false
  dead_workers:
    description:
      - Workers that are known to be gone with all their processes, although their keys are still there. Each is a
        name, or a dictionary with C(name) and C(hostname), the host that says so, which is believed for its own alone.
      - For V(abandoned), their leases count as run out, if their heartbeat stands still for O(worker_silence).
    type: list
    elements: raw
    default: []
  worker_silence:
    description:
      - Seconds for which a worker of O(dead_workers) that still has a key must not have beaten, counted from the start.
      - A worker that lives beats every 30 seconds while it runs a job, so that less would believe what is not so.
    type: float
    default: 35.0
  batch_size:
    description: Most jobs in one batch.
    type: int
    default: 200
  max_stall_ms:
    description: Batches that take the server longer than this are made smaller, since it does nothing else meanwhile.
    type: float
    default: 3.0
  return_ids:
    description: How many ids to return.
    type: int
    default: 100
  sample:
    description: Of how many of the requeued jobs to find out the function, for RV(by_function).
    type: int
    default: 1000
extends_documentation_fragment: [redis_connection, redis_credentials, rq_connection, rq_selection]
attributes:
  check_mode:
    description: Selects by the same code and reads only; RV(requeued) is what would be requeued.
    support: full
  diff_mode:
    description: Shows the lengths of the queues and registries before and after.
    support: full
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Put back what failed in this morning's outage
  rq_requeue:
    nodes: [10.0.0.11, 10.0.0.12, 10.0.0.13]
    login_user: operator
    login_password: "{{ vault_operator }}"
    tls: true
    queues: [default, mail]
    sources: [failed, abandoned]
    failed_after: "2026-11-23T03:10:00Z"
    failed_before: "2026-11-23T03:25:00Z"

- name: Everything, through the URL that the application uses
  rq_requeue:
    url: "{{ vault_redis_url }}"
    queues: ['*']
    all_jobs: true
    max_jobs: 1000000
"""

RETURN = r"""
requeued:
  description: How many jobs were put back.
  returned: always
  type: int
  sample: 1532
finished:
  description: Whether the run got through; false only with O(time_limit).
  returned: always
  type: bool
  sample: true
resume:
  description: What the next call needs to go on.
  returned: when not finished
  type: dict
  sample: {run: 4f1c}
total:
  description: How many entries the registries held at the start.
  returned: always
  type: int
  sample: 1535
to_look_at:
  description: How many of them this run has not come to yet.
  returned: always
  type: int
  sample: 0
notes:
  description: One sentence for each source and reason that occurred; why requeueing is or is not safe.
  returned: always
  type: dict
  sample: {stopped: "A person stopped it; include_stopped takes it."}
advice:
  description: What keeps requeued jobs from running, or may lose them again. Also shown as warnings.
  returned: always
  type: list
  elements: str
  sample: [No live worker listens to default.]
pruned:
  description: How many entries without a job were removed.
  returned: always
  type: int
  sample: 0
deduped:
  description: How many second copies were removed.
  returned: always
  type: int
  sample: 0
replicas_acked:
  description: The fewest replicas that confirmed a batch, null unless O(wait_replicas) asked.
  returned: always
  type: int
  sample: 2
remaining:
  description: How many entries the sources still held then, of those that they held at the start.
  returned: always
  type: int
  sample: 3
left:
  description: How many jobs were left, by reason.
  returned: always
  type: dict
  sample: {stopped: 2, completed: 1}
left_jobs:
  description: The first 25 of each reason.
  returned: always
  type: list
  elements: dict
  sample: [{id: 4f1c, queue: default, source: failed, reason: stopped}]
queues:
  description: How many jobs went to which queue.
  returned: always
  type: dict
  sample: {default: 1532}
sources:
  description: How many jobs came from which source.
  returned: always
  type: dict
  sample: {failed: 1500, abandoned: 32}
by_exception:
  description: The 20 most frequent errors of requeued failed jobs.
  returned: always
  type: dict
  sample: {redis.exceptions.ConnectionError: 1400, ValueError: 132}
by_function:
  description: The 20 most frequent functions in a sample of the requeued jobs.
  returned: always
  type: dict
  sample: {app.jobs.send_mail: 1000}
by_function_sample:
  description: How large that sample was.
  returned: always
  type: int
  sample: 1000
job_ids:
  description: The first ids, in the order of their requeueing.
  returned: always
  type: list
  elements: str
  sample: [4f1c]
unrecoverable:
  description: What no tool can put back, as far as the server's counters show it.
  returned: always
  type: list
  elements: str
  sample: [There is no AOF.]
batches:
  description: How many batches it took.
  returned: always
  type: int
  sample: 7
duration:
  description: Seconds that it took.
  returned: always
  type: float
  sample: 0.021
rate:
  description: Jobs a second.
  returned: always
  type: int
  sample: 72952
max_batch_ms:
  description: How long batches kept the server busy, in milliseconds; the largest average of eight in a row.
  returned: always
  type: float
  sample: 3.1
redis:
  description: Which server was the primary.
  returned: always
  type: dict
  sample: {host: 10.0.0.11, port: 6379, role: master}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run
from ansible.module_utils.lifeline.rq import options
from ansible.module_utils.lifeline.rq.requeue import work


def main() -> None:
    """Entry point."""
    run(AnsibleModule(argument_spec=options.requeue(), supports_check_mode=True), work)


if __name__ == "__main__":
    main()
