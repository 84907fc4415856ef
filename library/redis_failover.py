#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_failover
short_description: Who is primary of an estate, as a desired state
version_added: "0.1.0"
description:
  - Looks at the estate itself. When the primary is who it should be, nothing is changed.
  - A B(planned) switch moves the primary of a healthy estate to O(primary) without losing a write. Writers wait from
    before the offsets are compared until the old primary follows the new one. When the target does not get everything
    in time, writers go on where they were.
  - An B(unplanned) one replaces a dead primary by the replica with the most data. Where there is Sentinel it is asked
    to do so, once most sentinels agree that the primary is down, or at once with O(confirmed_dead). Without Sentinel
    the module promotes, points the other replicas at the new primary, and writes both into their configuration.
  - However a run ends, killed in the middle included, writers go on, C(replica-priority) is what it was, and the estate
    is in one of the two states of RV(state). A process of its own sees to that when the module is killed; if that is
    killed too, pauses end by themselves and the next run tidies up.
  - It refuses, with a sentence for each reason, rather than lose data that it was not told may be lost.
options:
  primary:
    description: The node that should be primary, by its name in O(nodes). V(any) is satisfied by any live primary.
    type: str
    default: any
  mode:
    description:
      - V(auto) is planned when there is a live primary, and unplanned when there is none.
      - The others refuse to be anything else.
    type: str
    choices: [auto, planned, unplanned]
    default: auto
  confirmed_dead:
    description:
      - Whether the old primary is known to be dead from its own host, so that nobody need wait for Sentinel.
      - It is not believed where the old primary answers anything, be it a refused login, or where its replicas still
        hear from it.
    type: bool
    default: false
  max_data_loss_bytes:
    description:
      - Unplanned only. Bytes of the replication stream that another live copy may have and the new primary may lack.
      - What the dead primary took after its last word to any replica is in no number; see RV(loss).
    type: int
    default: 1048576
  force_data_loss:
    description: Promote although more is lost than O(max_data_loss_bytes), or although it cannot be told.
    type: bool
    default: false
  accept_unreachable:
    description:
      - Nodes that do not answer and are permanently lost. Without Sentinel a newer copy may be on any other.
      - Without Sentinel and without O(confirmed_dead) the old primary has to be named here too, since nothing else
        proves that it is dead; so has a server outside the inventory that the replicas follow, as C(host:port).
    type: list
    elements: str
    default: []
  min_stable_seconds:
    description: Planned only. Refuse when a server runs, or a replica follows, for less than this.
    type: float
    default: 0.0
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 30.0
attributes:
  check_mode:
    description: Looks, refuses what would be refused, and returns the plan with the pause to expect.
    support: full
  diff_mode:
    description: The result names the old and the new primary.
    support: none
author:
  - Lifeline contributors (@lifeline)
extends_documentation_fragment:
  - redis_estate
  - redis_credentials
"""

EXAMPLES = r"""
- name: Give the estate a primary
  redis_failover:
    nodes: "{{ nodes }}"
    sentinels: "{{ sentinels }}"
    service: orders
    login_user: operator
    login_password: "{{ redis_password_operator }}"

- name: Move the primary away from a host that is to be maintained
  redis_failover:
    primary: redis2
    mode: planned
    nodes: "{{ nodes }}"
    sentinels: "{{ sentinels }}"
    service: orders
    timeout: 60
    login_user: operator
    login_password: "{{ redis_password_operator }}"
"""

RETURN = r"""
primary:
  description: The live primary. Null in check mode when Sentinel would choose it.
  returned: always
  type: dict
  sample: {name: redis2, host: 192.0.2.12, port: 6379}
state:
  description: V(switched) when O(primary) is primary and takes writes, V(kept) when the one before is and does.
  returned: always
  type: str
  sample: switched
commands:
  description: Commands that were sent, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [SENTINEL FAILOVER orders]
plan:
  description: The steps in words.
  returned: always
  type: list
  elements: str
  sample: ["redis1: pause writes for 4000 ms at most, until redis2 has all of them"]
expected_pause_ms:
  description: How long writers will wait, from measurements.
  returned: for a planned switch
  type: int
  sample: 500
pause_ms:
  description: How long writers had to wait.
  returned: after a planned switch
  type: int
  sample: 436
full_resyncs:
  description: Replicas that had to fetch all data again.
  returned: after a planned switch
  type: int
  sample: 0
partial_resyncs:
  description: Replicas that went on where they were.
  returned: after a planned switch
  type: int
  sample: 2
loss_bytes:
  description: Bytes of the replication stream that another copy holds and the new primary does not. Null if unknown.
  returned: after a switch
  type: int
  sample: 0
loss:
  description: What may be missing after the death of a primary.
  returned: for an unplanned switch
  type: str
  sample: Writes that redis1 took and had not sent to redis2 (last heard 3 s before) may be missing.
refusals:
  description: Why nothing was done, a sentence each.
  returned: when it refuses
  type: list
  elements: str
  sample: ["redis3 does not answer (refused): it may hold other data (R4)"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.failover.ensure import ensure_primary
from ansible.module_utils.lifeline.common.spec import credentials_spec, estate_spec, run


def main():
    module = AnsibleModule(
        argument_spec={
            **estate_spec(),
            "primary": {"type": "str", "default": "any"},
            "mode": {"type": "str", "choices": ["auto", "planned", "unplanned"], "default": "auto"},
            "confirmed_dead": {"type": "bool", "default": False},
            "max_data_loss_bytes": {"type": "int", "default": 1048576},
            "force_data_loss": {"type": "bool", "default": False},
            "accept_unreachable": {"type": "list", "elements": "str", "default": []},
            "min_stable_seconds": {"type": "float", "default": 0.0},
            "timeout": {"type": "float", "default": 30.0},
            **credentials_spec(),
        },
        supports_check_mode=True,
    )
    run(module, ensure_primary)


if __name__ == "__main__":
    main()
