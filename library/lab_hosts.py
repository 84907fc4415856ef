#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_hosts
short_description: Make or remove a lab of real hosts on this machine
version_added: "0.1.0"
description:
  - Each host is a Podman container that boots systemd from a Debian image, has an address of its own on a private
    network, and is reached over SSH with host key checking.
  - Makes what is missing and leaves alone what is there. A host that lost its power is started, one that was cut off is
    connected again, one that is no longer wanted is removed.
  - Writes an inventory with all that it takes to reach the hosts, a certificate for each, and random passwords.
  - Remembers kernel settings that hosts may change for the whole machine, and gives them back with the last lab.
options:
  state:
    description: Whether the lab should be there. V(absent) removes its hosts, network, keys and inventory.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the lab. Labs of different names live side by side.
    type: str
    default: lab
  hosts:
    description: The hosts of the lab.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Host name, and name in the inventory.
        type: str
        required: true
      groups:
        description: Inventory groups of the host.
        type: list
        elements: str
        default: []
      release:
        description: Debian release. V(sid) is the suite that changes daily; an image of it is as new as its build.
        type: str
        choices: [bookworm, trixie, sid]
        default: bookworm
      memory:
        description: Limit such as V(512m); beyond it, the kernel kills. No limit by default.
        type: str
      vars:
        description: Inventory variables of the host.
        type: dict
        default: {}
  directory:
    description: Where the inventory goes. What else the lab keeps lies in C(.lab) below, for its owner only.
    type: path
    required: true
  recipe:
    description: Shell script that builds an image. A hash of it is part of the image's name.
    type: path
    required: true
  cache:
    description: Directory that keeps downloads between builds of images.
    type: path
    required: true
  packages:
    description: Packages in the image.
    type: list
    elements: str
    default: []
  prefetch:
    description: Packages whose archives wait in the image, so that roles install them without a download.
    type: list
    elements: str
    default: []
  mirror:
    description: Debian mirror. Without one, that of this machine's APT sources.
    type: str
    default: ""
  subnet:
    description: IPv4 network of the lab. Without one, the first that clashes with nothing on this machine.
    type: str
    default: ""
  control_path_dir:
    description: Where Ansible keeps the sockets of open SSH connections; those to the lab's hosts are closed with it.
    type: path
    default: ~/.ansible/cp
  purge:
    description: With O(state=absent), also remove every image that labs were made from, unless a lab still uses it.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says what would be made or removed and touches nothing.
  diff_mode:
    support: full
    description: Shows the hosts before and after.
requirements:
  - root on a machine with Podman and debootstrap; on Debian they are installed when missing
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Make a lab of two hosts
  lab_hosts:
    name: trial
    directory: "{{ playbook_dir }}/inventory"
    recipe: roles/lab_hosts/files/build-image.sh
    cache: .cache/lab
    hosts:
      - name: redis1
        groups: [redis]
      - name: app1
        groups: [app]
        release: trixie
        memory: 512m

- name: Remove it
  lab_hosts:
    name: trial
    state: absent
    directory: "{{ playbook_dir }}/inventory"
    recipe: roles/lab_hosts/files/build-image.sh
    cache: .cache/lab
"""

RETURN = r"""
installed:
  description: Packages that were missing on this machine and got installed.
  returned: O(state=present)
  type: list
  elements: str
  sample: [podman]
built:
  description: Images that had to be built.
  returned: O(state=present)
  type: list
  elements: str
  sample: ["localhost/lifeline-lab:bookworm-0f343b0931126a20"]
created:
  description: Hosts that were created.
  returned: O(state=present)
  type: list
  elements: str
  sample: [redis1]
connected:
  description: Hosts that were cut off and got connected to the lab's network again.
  returned: O(state=present)
  type: list
  elements: str
  sample: []
started:
  description: Hosts that were there without power and got started.
  returned: O(state=present)
  type: list
  elements: str
  sample: []
removed:
  description: Hosts that were removed.
  returned: always
  type: list
  elements: str
  sample: []
addresses:
  description: Address of each host.
  returned: O(state=present), not in check mode
  type: dict
  sample: {redis1: 10.213.0.11}
restored:
  description: Kernel settings that differed from what they were before the first lab, and were given back.
  returned: O(state=absent), not in check mode
  type: list
  elements: str
  sample: [/proc/sys/vm/overcommit_memory]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import run, unlogged
from ansible.module_utils.lifeline.lab.work import work


def main() -> None:
    host = {
        "name": {"type": "str", "required": True},
        "groups": {"type": "list", "elements": "str", "default": []},
        "release": {"type": "str", "choices": ["bookworm", "trixie", "sid"], "default": "bookworm"},
        "memory": {"type": "str"},
        "vars": {"type": "dict", "default": {}},
    }
    spec = {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "name": {"type": "str", "default": "lab"},
        "hosts": unlogged({"type": "list", "elements": "dict", "default": [], "options": host}),
        "directory": {"type": "path", "required": True},
        "recipe": {"type": "path", "required": True},
        "cache": {"type": "path", "required": True},
        "packages": {"type": "list", "elements": "str", "default": []},
        "prefetch": {"type": "list", "elements": "str", "default": []},
        "mirror": {"type": "str", "default": ""},
        "subnet": {"type": "str", "default": ""},
        "control_path_dir": {"type": "path", "default": "~/.ansible/cp"},
        "purge": {"type": "bool", "default": False},
    }
    run(AnsibleModule(spec, supports_check_mode=True), work, shown=("hosts",))


if __name__ == "__main__":
    main()
