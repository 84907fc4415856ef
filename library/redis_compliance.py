#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_compliance
short_description: Tell from the evidence of an estate's hosts which controls it keeps
version_added: "0.1.0"
description:
  - Takes what M(redis_health) collected in the depth V(posture) on all hosts of an estate, and what
    the inventory wants, and judges every control of the catalogue.
  - What could not be looked at is an error, never a pass.
  - It connects to nothing and changes nothing but O(report_dir). It runs on the control node, whatever host the task is
    for.
options:
  service:
    description: Name of the estate; evidence of others is left out.
    type: str
    required: true
  evidence:
    description: The evidence (C(redis_health)) of each host that answered, in any order.
    type: list
    elements: dict
    required: true
  nodes:
    description: The servers of the estate, as the inventory has them.
    type: list
    elements: dict
    required: true
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
  policy:
    description:
      - "What the inventory wants of the whole estate: C(tls), C(queues), C(users), C(admin_users), C(watching_users),
        C(script_users), C(password_lengths) (characters by user), C(modules), C(log_shipper), and limits such as
        C(certificate_days), C(rto_seconds), C(acl_log_hours), C(save_age_hours), C(backup_age_hours),
        C(restore_age_days)."
    type: dict
    default: {}
  intent:
    description: "By host, what the inventory wants there: C(addresses), C(config_file), C(settings), C(priority)."
    type: dict
    default: {}
  waivers:
    description: "Controls that somebody answers for: C(control), C(hosts) (all without it), C(reason), C(owner),
      C(expires)."
    type: list
    elements: raw
    default: []
  fail_on:
    description: From which severity on a failure makes the estate not compliant.
    type: str
    choices: [high, medium, low, never]
    default: high
  controls:
    description: Only these controls, by their ids. Empty for all.
    type: list
    elements: str
    default: []
  report_dir:
    description:
      - Folder on the control node that the reports go to. It is made if it is missing; files of their names are
        replaced. This counts as no change.
    type: path
  formats:
    description: Which reports to write to O(report_dir).
    type: list
    elements: str
    choices: [json, junit, sarif, prometheus, markdown, html]
    default: [json, junit, sarif, prometheus, markdown, html]
  keep:
    description: How many earlier JSON reports stay in the folder C(history) of O(report_dir).
    type: int
    default: 30
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
- name: Judge the estate
  redis_compliance:
    service: orders
    nodes: "{{ nodes }}"
    sentinels: "{{ sentinels }}"
    evidence: "{{ ansible_play_hosts | map('extract', hostvars, ['seen', 'evidence']) }}"
    waivers:
      - control: HST-006
        reason: the data's filesystem is ordered
        owner: storage team
        expires: "2027-03-31"
  run_once: true
"""

RETURN = r"""
report:
  description: The report; the JSON file holds the same.
  returned: always
  type: dict
  contains:
    verdict:
      description: Whether the estate is compliant, and why not.
      type: dict
      sample: {compliant: false, reasons: [1 of severity high failed], fail_on: high}
    summary:
      description: Counts by status, by severity and by host, and the score in percent.
      type: dict
      sample: {total: 171, score: 98.2, by_status: {fail: 3, pass: 160}}
    results:
      description: One result for each control and host.
      type: list
      elements: dict
      sample: [{control: RDS-001, severity: high, where: redis1, status: pass, evidence: [user default is off]}]
    expired_waivers:
      description: Waivers whose last day is over. They make the estate not compliant.
      type: list
      elements: dict
      sample: []
    previous:
      description: What the previous report said otherwise; null when there is none.
      type: dict
      sample: {time: 1790000000.0, score: 97.0, new: [], repaired: []}
reports:
  description: Files written to O(report_dir).
  returned: always
  type: list
  elements: str
  sample: [reports/compliance/orders/compliance.json]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run
from ansible.module_utils.lifeline.compliance.judge import OPTIONS
from ansible.module_utils.lifeline.compliance.run import work


def main():
    module = AnsibleModule(
        argument_spec=OPTIONS,
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
