#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rq_services
short_description: Start, check and recover the systemd units of a host that depend on Redis
version_added: "0.1.0"
description:
  - Looks at all units in one go and says of each whether it lost Redis. What an RQ worker does after an outage shows in
    systemd, in its connections and in Redis' list of workers, not in C(systemctl is-active) alone.
  - Restarts only units that lost Redis, one after the other, each well before the next.
  - A worker that is busy with a job is told to restart when the job is done, and is not waited for.
  - Asks Redis through the URL that the application itself uses, so no password passes through Ansible.
options:
  state:
    description:
      - V(checked) changes nothing.
      - V(recovered) restarts units that failed, stopped, or lost Redis.
      - V(started) enables and starts units, and restarts those that have not read their unit file, environment file
        or O(units[].watch) files since these changed.
    type: str
    choices: [checked, recovered, started]
    default: checked
  units:
    description: The units. Those of one kind are restarted in the order given.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the unit; a service unless it has another suffix. A template's name ends in C(@).
        type: str
        required: true
      instances:
        description:
          - Of a template, the number of instances, from 1 on; O(state=started) stops and disables all others.
          - V(0) for a unit that should not run.
        type: int
        default: 1
      kind:
        description:
          - V(worker) is an RQ worker, well if it is registered in Redis and connected to it.
          - V(scheduler) is an RQ scheduler, well if it is connected.
          - V(web) and V(other) are well if they run and O(units[].health_url), where given, answers 200.
        type: str
        choices: [worker, scheduler, web, other]
        default: other
      health_url:
        description: URL on this host that answers 200 when the unit is well.
        type: str
      watch:
        description: Files that the unit reads at its start only.
        type: list
        elements: path
        default: []
  order:
    description: Kinds in the order in which their units are restarted.
    type: list
    elements: str
    choices: [worker, scheduler, web, other]
    default: [web, worker, scheduler, other]
  url_file:
    description: EnvironmentFile of the application that holds its Redis URL. Without it, Redis is not asked.
    type: path
  url_variable:
    description: Variable in O(url_file).
    type: str
    default: REDIS_URL
  endpoints:
    description:
      - Where Redis is served now, as C(host:port). Without it, where the URL points.
      - A worker that is connected to the same port of another host still waits for a server that is gone.
    type: list
    elements: str
    default: []
  key_prefix:
    description: What RQ's keys begin with; RQ 3 reads its own from the environment variable RQ_KEY_PREFIX.
    type: str
    default: rq
  timeout:
    description: Seconds in which a unit must be well after its restart.
    type: float
    default: 30
attributes:
  check_mode:
    description: Says which units would be started or restarted and touches nothing.
    support: full
  diff_mode:
    description: Shows the state of each unit that changes.
    support: full
requirements:
  - redis (Python library, 4.3.4 or later; Debian package python3-redis) on the host, with O(url_file)
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Restart what lost Redis
  rq_services:
    state: recovered
    url_file: /etc/rq/redis.env
    units:
      - name: rq-worker@
        kind: worker
        instances: 4
      - name: rq-web
        kind: web
        health_url: http://127.0.0.1:8000/health

- name: See whether everything that depends on Redis is well
  rq_services:
    url_file: /etc/rq/redis.env
    units:
      - name: rq-worker@1
        kind: worker
"""

RETURN = r"""
units:
  description: Each unit and what was found.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the unit.
      type: str
    kind:
      description: Kind of the unit.
      type: str
    healthy:
      description: Whether nothing had to be done.
      type: bool
    action:
      description: V(nothing), V(wait), V(restart) or V(drain).
      type: str
    reason:
      description: Why.
      type: str
  sample:
    - {name: rq-worker@1.service, kind: worker, healthy: false, action: restart, reason: it is not connected}
healthy:
  description: Whether all units were well before anything was done.
  returned: always
  type: bool
  sample: false
restarted:
  description: Units that were restarted, or would be.
  returned: always
  type: list
  elements: str
  sample: [rq-worker@1.service]
draining:
  description: Workers that restart once their job is done, or would.
  returned: always
  type: list
  elements: str
  sample: []
gone_workers:
  description:
    - Workers that Redis lists for this host and whose processes are all gone, as C(dead_workers) of M(rq_requeue) takes
      them.
    - None where a unit's C(KillMode) lets a work horse outlive its worker.
  returned: O(state=recovered), not in check mode
  type: list
  elements: str
  sample: [0d6f35e6b1d84d2f]
hostname:
  description: What this host calls itself, and so what Redis lists its workers under.
  returned: O(state=recovered), not in check mode
  type: str
  sample: app1
enabled:
  description: Units that were enabled.
  returned: O(state=started)
  type: list
  elements: str
  sample: []
stopped:
  description: Units that were stopped and disabled.
  returned: O(state=started)
  type: list
  elements: str
  sample: [rq-worker@5.service]
library:
  description: Whether the host has redis-py. Without it nothing was done, and the package is to be installed first.
  returned: O(state=started)
  type: bool
  sample: true
leftovers:
  description: Unit files of units that have no instance.
  returned: O(state=started)
  type: list
  elements: str
  sample: []
redis_error:
  description: Why Redis did not answer the application; empty if it did, or was not asked.
  returned: always
  type: str
  sample: ""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.services import work
from ansible.module_utils.lifeline.common.spec import run, unlogged

KINDS = ["worker", "scheduler", "web", "other"]


def main() -> None:
    unit = {
        "name": {"type": "str", "required": True},
        "instances": {"type": "int", "default": 1},
        "kind": {"type": "str", "choices": KINDS, "default": "other"},
        "health_url": {"type": "str"},
        "watch": {"type": "list", "elements": "path", "default": []},
    }
    spec = {
        "state": {"type": "str", "choices": ["checked", "recovered", "started"], "default": "checked"},
        "units": unlogged({"type": "list", "elements": "dict", "required": True, "options": unit}),
        "order": {
            "type": "list",
            "elements": "str",
            "choices": KINDS,
            "default": ["web", "worker", "scheduler", "other"],
        },
        "url_file": {"type": "path"},
        "url_variable": {"type": "str", "default": "REDIS_URL"},
        "endpoints": {"type": "list", "elements": "str", "default": []},
        "key_prefix": {"type": "str", "default": "rq", "no_log": False},
        "timeout": {"type": "float", "default": 30},
    }
    run(AnsibleModule(spec, supports_check_mode=True), work, shown=("units",))


if __name__ == "__main__":
    main()
