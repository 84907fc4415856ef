#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_diagnose
short_description: Tell from the evidence of an estate's hosts which outage it is
version_added: "0.1.0"
description:
  - Takes what M(redis_health) collected on all hosts of an estate and says what is wrong, how that is known, what is at
    risk, what to do and what not to do. One cause is shown with its consequences, not as many alarms.
  - It connects to nothing and changes nothing but O(report_dir). It runs on the control node, whatever host the task is
    for.
  - A fault that fits no known cause is reported as unknown, with its evidence.
options:
  service:
    description: Name of the estate; evidence of others is left out.
    type: str
  evidence:
    description: The evidence (C(redis_health)) of each host that answered, in any order.
    type: list
    elements: dict
    default: []
  evidence_file:
    description:
      - An C(evidence.json) that was written to O(report_dir) before, on the control node; or a folder, and all that
        lie in it and in its folders. Every estate in it is diagnosed; options that describe an estate are ignored.
    type: path
  nodes:
    description: The servers of the estate, as the inventory has them.
    type: list
    elements: dict
    default: []
  sentinels:
    description: The sentinels of the estate, as the inventory has them.
    type: list
    elements: dict
    default: []
  applications:
    description: Names of the application hosts.
    type: list
    elements: str
    default: []
  quorum:
    description: Sentinels that must agree before a failover.
    type: int
    default: 0
  unasked:
    description: Names of members that nobody asked this time, so that their silence means nothing.
    type: list
    elements: str
    default: []
  silent:
    description: By name of a host that was asked and gave no evidence, why.
    type: dict
    default: {}
  tried:
    description:
      - Steps of RV(diagnosis.plan) that were taken already, as C(remedy@host). What is still there after its step is
        left to a person, instead of being tried forever.
    type: list
    elements: str
    default: []
  fresh:
    description:
      - Seconds for which a refused login counts. A recovery says how long ago its last step ended, since what was
        refused before that may be over.
    type: float
    default: 60.0
  accept_data_loss:
    description:
      - Servers whose writes a person has said may be lost, where RV(diagnosis.plan) refuses to choose. Of two primaries
        the one named here follows the other; a server named here whose host does not answer is given up.
    type: list
    elements: str
    default: []
  accept_data_loss_bytes:
    description:
      - How many bytes of writes of each of them may be lost at most. Below 0, however many, also where nobody can tell.
    type: int
    default: 1048576
  announced:
    description:
      - C(announced) of the plan that a person was shown. Steps of other kinds wait. Without it this plan is the first.
    type: list
    elements: str
  agreed:
    description: Kinds of steps that a person has agreed to besides, by their ids; V(all) for every kind.
    type: list
    elements: str
    default: []
  memory_dir:
    description:
      - Folder on the control node in which M(incident_record) keeps which steps did not help. Where the estate still
        looks as it did then, such a step is left to a person.
    type: path
  again:
    description: Take steps again that did not help before.
    type: bool
    default: false
  registered:
    description:
      - Variable that each member registered its result of M(redis_health) in. O(evidence), O(silent) and O(unasked) are
        then taken from there, as they are, which is faster than to hand them over in a template.
    type: str
  round:
    description:
      - O(round) of the task of M(redis_health) whose results in O(registered) count. What a member registered in
        another is silence in this one.
    type: str
    default: ""
  report_dir:
    description:
      - Folder on the control node in which each estate's evidence and reports get a folder of their own. It is made
        if it is missing; files of their names are replaced. This counts as no change.
    type: path
  show:
    description: Print RV(text), and return nothing else.
    type: bool
    default: false
  command:
    description:
      - The command that RV(text) ends with, under C(NEXT).
      - Left out, it is C(recover.yml) with the inventory and the limit that this run was given.
    type: str
    default: ansible-playbook recover.yml
  fail:
    description: Fail when an estate is not healthy.
    type: bool
    default: false
attributes:
  check_mode:
    description: Reads only, so a check run is the same as a real one.
    support: full
  diff_mode:
    description: Changes nothing, so there is no diff.
    support: none
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Tell what is wrong
  redis_diagnose:
    service: orders
    nodes: "{{ nodes }}"
    sentinels: "{{ sentinels }}"
    evidence: "{{ ansible_play_hosts | map('extract', hostvars, ['seen', 'evidence']) }}"
  run_once: true

- name: Tell what was wrong, from what was saved
  redis_diagnose:
    evidence_file: incident/evidence.json
    report_dir: incident/reports
"""

RETURN = r"""
diagnosis:
  description: The answer; of several estates, the worst one's.
  returned: without O(show)
  type: dict
  contains:
    verdict:
      description: V(healthy), V(impaired) (in service without its safety margin), V(down), or V(blind) (nobody looked).
      type: str
      sample: down
    summary:
      description: The worst finding in a few words.
      type: str
      sample: the server's process is dead (redis1)
    primary:
      description: The live primary that the others agree on, or null.
      type: dict
      sample: {name: redis1, host: 192.0.2.11, port: 6379}
    findings:
      description: What is wrong, worst first, with evidence, consequences, the remedy and the remedy to avoid.
      type: list
      elements: dict
      sample: [{id: process_dead, fault: F01, where: redis1, severity: critical, sure: certain}]
    plan:
      description: What C(recover.yml) would do about it now.
      type: dict
      sample: {verdict: act, actions: []}
    topology:
      description: Who is primary according to whom.
      type: dict
      sample: {state: agreed, primary: redis1}
    outage_began:
      description: When the trouble that still shows began, in seconds since 1970; null when none shows.
      type: float
      sample: 1790000000.0
    promoted_at:
      description: When a replica last became a primary by the logs, in seconds since 1970; null when none tells.
      type: float
      sample: 1790000006.0
    parties:
      description: Who says what of whom; what the picture in the report is drawn from.
      type: dict
      sample: {servers: [], sentinels: [], applications: [], looks: []}
    unjudged:
      description: Causes that could not be judged, since the evidence is so odd.
      type: list
      elements: str
      sample: []
diagnoses:
  description: RV(diagnosis) of each estate, worst first; each with its RV(reports).
  returned: without O(show)
  type: list
  elements: dict
  sample: [{service: redis, verdict: down}]
text:
  description: What a person reads. Nothing else is returned with it.
  returned: with O(show)
  type: str
  sample: "Estate redis is HEALTHY: redis1 is the primary, and everybody agrees."
reports:
  description: Files written to O(report_dir).
  returned: without O(show)
  type: list
  elements: str
  sample: [reports/orders/diagnosis.html, reports/orders/evidence.json]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run
from ansible.module_utils.lifeline.report.diagnosis import ONE_OF, OPTIONS, work


def main():
    module = AnsibleModule(
        argument_spec=OPTIONS,
        required_one_of=ONE_OF,
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
