#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: application_gate
short_description: Whether an application host does as well with Redis as before
version_added: "0.1.0"
description:
  - Runs on an application host. For some seconds it asks the application's health URLs and writes to Redis the way the
    application does; then it looks at the age of the oldest waiting RQ job and at the workers.
  - The result of one run is the O(before) of a later one. It does not fail when something is worse, it says so.
options:
  url_file:
    description: EnvironmentFile of the application that holds its Redis URL. Without it, Redis is not asked.
    type: path
  url_variable:
    description: Variable in O(url_file).
    type: str
    default: REDIS_URL
  health_urls:
    description: URLs on this host that answer 200 when the application is well.
    type: list
    elements: str
    default: []
  soak:
    description: Seconds to look.
    type: float
    default: 10.0
  interval:
    description: Seconds between two looks.
    type: float
    default: 0.25
  before:
    description: RV(seen) of an earlier run, to compare with.
    type: dict
    default: {}
  most_error_percent:
    description: Most tries that may fail.
    type: float
    default: 1.0
  most_latency_factor:
    description: How much longer 95 % of the tries may take than before.
    type: float
    default: 3.0
  least_latency_ms:
    description: A latency that is always good enough.
    type: float
    default: 100.0
  most_queue_age:
    description: Seconds that the oldest job may have waited longer than before.
    type: float
    default: 60.0
  key_prefix:
    description: Prefix of RQ's keys.
    type: str
    default: rq
attributes:
  check_mode:
    description: Does not look, and finds nothing wrong.
    support: full
  diff_mode:
    description: Nothing is changed, but for one key that expires after a minute.
    support: none
requirements:
  - redis (Python library, 4.3.4 or later; Debian package python3-redis) on the host, with O(url_file)
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: See how the application does now
  application_gate:
    url_file: /etc/rq/redis.env
    health_urls: [http://127.0.0.1:8000/health]
  register: before

- name: See whether it does as well after the change
  application_gate:
    url_file: /etc/rq/redis.env
    health_urls: [http://127.0.0.1:8000/health]
    before: "{{ before.seen }}"
"""

RETURN = r"""
healthy:
  description: Whether nothing is worse than it may be.
  returned: always
  type: bool
  sample: true
reasons:
  description: What is worse, a sentence each.
  returned: always
  type: list
  elements: str
  sample: ["3 of 40 tries failed (a write failed: timeout)"]
seen:
  description: What was measured.
  returned: always
  type: dict
  sample: {tries: 40, errors: 0, p95_ms: 4.1, complaints: [], queue_age: 0.0, workers: 2}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run
from ansible.module_utils.lifeline.verify.gate import specification, work


def main() -> None:
    """Entry point."""
    run(AnsibleModule(argument_spec=specification(), supports_check_mode=True), work, shown=("health_urls",))


if __name__ == "__main__":
    main()
