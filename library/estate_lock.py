#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: estate_lock
short_description: Let one run at a time change an estate
version_added: "0.1.0"
description:
  - Takes, renews or releases the lock that says which run is changing an estate. It is a file on each host of the
    estate, and is gone after a reboot.
  - A lock that another run holds is an answer, not a failure (RV(held), RV(holder)). One that a run of this control
    node left behind when it died is taken over at once; one of another control node, when it was not renewed for
    O(stale) seconds.
options:
  estate:
    description: Name of the estate.
    type: str
    required: true
  state:
    description: V(held) takes the lock or renews it. V(released) gives it back, if O(run) holds it.
    type: str
    choices: [held, released]
    default: held
  run:
    description: What tells this run from others. The action plugin names the playbook's process.
    type: str
    default: ""
  who:
    description: Who runs it and where, for others to read. The action plugin fills it in.
    type: str
    default: ""
  what:
    description: What the run does, for others to read.
    type: str
    default: ""
  stale:
    description:
      - Seconds without a renewal after which the lock of another control node's run counts as left behind. One of this
        control node never does while its process lives.
    type: float
    default: 3600.0
  looked_at:
    description:
      - With V(held), when this run looked at the host, in seconds since 1970 by the host's clock. Where another run
        gave the lock back since then, what this run saw is out of date, and it does not get the lock.
    type: float
    default: 0.0
  ended:
    description:
      - With V(released), what the run leaves to the next. V(finished) is nothing; V(as_before) is what the runs before
        it left; with V(broken_off) it gives up before it has finished. Whoever comes next is told (RV(unfinished)).
    type: str
    choices: [finished, as_before, broken_off]
    default: finished
  process:
    description: Names the control node's process that holds the lock. The action plugin fills it in.
    type: str
    default: ""
  dead_run:
    description:
      - A run that is known to have died, whose lock is taken over at once. The control node that started it finds this
        out by itself.
    type: str
    default: ""
  directory:
    description: Folder of the lock on the host; by default C(/run/lifeline), or without root one of the user's own.
    type: path
attributes:
  check_mode:
    description: Says what a real run would do, and writes nothing.
    support: full
  diff_mode:
    description: The result names the holder before.
    support: none
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Take the estate's lock
  estate_lock:
    estate: orders
    what: recover.yml
  register: lock

- name: Give it back
  estate_lock:
    estate: orders
    state: released
"""

RETURN = r"""
held:
  description: Whether this run holds the lock now; in check mode, whether it would.
  returned: always
  type: bool
  sample: true
asked:
  description: When the control node asked, in seconds since 1970 by its own clock. The action plugin fills it in.
  returned: always
  type: float
  sample: 1790000012.5
estate:
  description: Whose lock it is. The action plugin fills it in.
  returned: always
  type: str
  sample: orders
what:
  description: What the run does. The action plugin fills it in.
  returned: always
  type: str
  sample: recover.yml
renewed:
  description: Whether the run held the lock before it asked.
  returned: always
  type: bool
  sample: false
holder:
  description: The other run that holds the lock, or (RV(stale)) that left it behind; null where there is none.
  returned: always
  type: dict
  sample: {run: 4f2a, who: alice on control1, what: recover.yml, since: 1790000000.0, renewed: 1790000012.5}
unfinished:
  description:
    - When the first of the runs before this one began that died or gave up, in seconds since 1970; 0 where the last one
      finished. A run that renews its lock is told the same again.
  returned: always
  type: float
  sample: 0.0
quiet:
  description: Seconds since RV(holder) took or renewed its lock; 0 where there is none.
  returned: always
  type: float
  sample: 12.5
who:
  description: Who runs this run and where.
  returned: always
  type: str
  sample: alice on control1
stale:
  description: Whether the lock of another run was left behind.
  returned: always
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.lock import work
from ansible.module_utils.lifeline.common.spec import run


def main():
    module = AnsibleModule(
        argument_spec={
            "estate": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
            "run": {"type": "str", "default": ""},
            "who": {"type": "str", "default": ""},
            "what": {"type": "str", "default": ""},
            "stale": {"type": "float", "default": 3600.0},
            "looked_at": {"type": "float", "default": 0.0},
            "ended": {"type": "str", "choices": ["finished", "as_before", "broken_off"], "default": "finished"},
            "process": {"type": "str", "default": ""},
            "dead_run": {"type": "str", "default": ""},
            "directory": {"type": "path"},
        },
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
