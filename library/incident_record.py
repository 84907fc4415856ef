#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: incident_record
short_description: Write down what a recovery found, did and left
version_added: "0.1.0"
description:
  - Writes a folder with the record of one recovery as JSON, Markdown and one HTML page, and beside it what was seen
    before and after. It holds no secret, and is for its owner and group only.
  - It runs on the control node, whatever host the task is for. Writing a record counts as no change.
options:
  estate:
    description: Name of the estate.
    type: str
    required: true
  run:
    description: What tells this run from others.
    type: str
    required: true
  who:
    description: Who ran it and where.
    type: str
    default: ""
  started:
    description: When the run started, in seconds since 1970; so are all times.
    type: float
    required: true
  ended:
    description: When it ended.
    type: float
    required: true
  proven_at:
    description: When the first write was proven again.
    type: float
  first:
    description: The diagnosis (C(redis_diagnose)) of the first look.
    type: dict
    required: true
  last:
    description: The same of the last look.
    type: dict
    required: true
  steps:
    description: Steps that were taken, each with C(remedy), C(host), C(why), C(began), C(ended) and C(failed).
    type: list
    elements: dict
    default: []
  lines:
    description: What the run said at its end.
    type: list
    elements: str
    default: []
  looks_dir:
    description: Folder whose C(before) and C(after) hold the reports of the first and the last look.
    type: path
    required: true
  dir:
    description: Folder on the control node that the records' folders go to.
    type: path
    required: true
  memory_dir:
    description: Folder on the control node in which to keep, for later runs, which steps did not help.
    type: path
attributes:
  check_mode:
    description: Writes nothing.
    support: full
  diff_mode:
    description: There is no diff of a record.
    support: none
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Write down what happened
  incident_record:
    estate: orders
    run: "{{ run_id }}"
    started: "{{ started }}"
    ended: "{{ now(utc=true).timestamp() }}"
    first: "{{ first_diagnosis }}"
    last: "{{ last_diagnosis }}"
    looks_dir: reports/recovery
    dir: reports/incidents
"""

RETURN = r"""
files:
  description: Files that were written.
  returned: always
  type: list
  elements: str
  sample: [reports/incidents/orders-20261123T030000Z/incident.html]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run
from ansible.module_utils.lifeline.report.record import OPTIONS, work


def main():
    module = AnsibleModule(
        argument_spec=OPTIONS,
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
