#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_host_facts
short_description: Tell what a host has that a Redis role must know before it plans
version_added: "0.1.0"
description:
  - Reads packages, units, kernel settings, files and memory in one call, and changes nothing.
options:
  packages:
    description: Packages that are wanted.
    type: list
    elements: str
    default: []
  units:
    description: systemd units whose state is wanted.
    type: list
    elements: str
    default: []
  sysctl:
    description: Kernel settings whose value in force is wanted.
    type: list
    elements: str
    default: []
  paths:
    description: Paths to look for.
    type: list
    elements: path
    default: []
  pristine:
    description: A configuration file that a package ships, to tell whether anything else has written it.
    type: dict
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      package:
        description: The package that ships it.
        type: str
        required: true
attributes:
  check_mode:
    description: Reads only, so it does the same.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Look at the host
  redis_host_facts:
    packages: [redis-server, python3-redis]
    units: [redis-server@main.service]
    sysctl: [vm.overcommit_memory]
  register: host
"""

RETURN = r"""
missing_packages:
  description: Those of O(packages) that are not installed.
  returned: when O(packages) is given
  type: list
  elements: str
  sample: [redis-server]
units:
  description: State by unit - C(load), C(active), C(sub), C(enabled) and more; empty on a host without systemd.
  returned: when O(units) is given
  type: dict
  sample: {redis-server@main.service: {load: loaded, active: active, sub: running, enabled: enabled}}
sysctl:
  description: Values in force; empty for a setting that this kernel has not.
  returned: always
  type: dict
  sample: {vm.overcommit_memory: "1"}
exists:
  description: Whether there is anything at each of O(paths).
  returned: always
  type: dict
  sample: {/etc/redis/redis-main.conf: true}
pristine:
  description: Whether the file is missing, or as the package ships it.
  returned: when O(pristine) is given
  type: bool
memory_total:
  description: Bytes that the host, or the container that it is, can give.
  returned: always
  type: int
  sample: 8589934592
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run
from ansible.module_utils.lifeline.observe.packages import work


def main():
    spec = {
        "packages": {"type": "list", "elements": "str", "default": []},
        "units": {"type": "list", "elements": "str", "default": []},
        "sysctl": {"type": "list", "elements": "str", "default": []},
        "paths": {"type": "list", "elements": "path", "default": []},
        "pristine": {
            "type": "dict",
            "options": {
                "path": {"type": "path", "required": True},
                "package": {"type": "str", "required": True},
            },
        },
    }
    run(AnsibleModule(spec, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
