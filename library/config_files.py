#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write many configuration files and directories in one go
version_added: "0.1.0"
description:
  - Brings files and directories of a host to their wanted content, owner and mode, all in one module call.
  - All new files are staged beside their targets and validated before the first one is replaced; then each is renamed
    into place. A refused file leaves every old file as it was.
  - Nothing is written through a symbolic link. A link where a file should be is replaced by the file. A link to a
    directory is accepted where a directory should be, if root or the user who runs the module made it.
  - A directory is removed only when it is empty, or holds only what the same call removes before it.
options:
  files:
    description: What should be there. Directories are made first, in the order given.
    type: list
    elements: dict
    default: []
    suboptions: &entry
      path:
        description: Absolute path on the host.
        type: path
        required: true
      state:
        description: Whether there should be a file, a directory, or nothing.
        type: str
        choices: [file, directory, absent]
        default: file
      content:
        description: All of the file. Needed for V(file), unless O(files[].settings) is given.
        type: str
      settings:
        description:
          - Settings of a configuration file of Redis or Sentinel that are changed in place; the rest of the file stays.
          - For a server that does not run, since one that does writes its file itself. Not for secrets.
        type: dict
      owner:
        description:
          - User name or id. Without it an existing owner is kept; a new path belongs to the user who runs the module.
          - In check mode a user that does not exist yet is taken to be made by a task before this one.
        type: str
      group:
        description: Group name or id; as O(files[].owner).
        type: str
      mode:
        description:
          - Four octal digits in quotes.
          - Without it an existing mode is kept; a new directory gets V(0755), a file V(0644), a secret file V(0600).
        type: str
      force:
        description: With V(false) content is written only where there is no file yet; owner and mode are kept right.
        type: bool
        default: true
      validate:
        description: Command that must accept the staged file before any is replaced; V(%s) stands for its path.
        type: list
        elements: str
  secret_files:
    description: The same for files whose content must never be shown. Their diff says only that they change.
    type: list
    elements: dict
    default: []
    suboptions: *entry
  only_owned:
    description: Change files only where the mark of Lifeline says that it made this thing on this host; else fail.
    type: str
    choices: [server, sentinel, units]
attributes:
  check_mode:
    description: Says exactly what would change and touches nothing; commands in O(files[].validate) are not run.
    support: full
  diff_mode:
    description: Shows content, owner, group and mode; never a secret.
    support: full
author:
  - Lifeline contributors (@lifeline)
"""

EXAMPLES = r"""
- name: Configure Redis
  config_files:
    files:
      - path: /etc/redis/lifeline
        state: directory
        owner: root
        group: redis
        mode: "0750"
      - path: /etc/redis/lifeline/6379.conf
        content: "{{ lookup('ansible.builtin.template', 'redis.conf.j2') }}"
        owner: root
        group: redis
        mode: "0640"
    secret_files:
      - path: /etc/redis/lifeline/6379.acl
        content: "{{ lookup('ansible.builtin.template', 'users.acl.j2') }}"
        owner: redis
        group: redis
        mode: "0600"
  register: configuration

- name: Check a file before it takes the old one's place
  config_files:
    files:
      - path: /etc/nftables.d/redis.nft
        content: "{{ lookup('ansible.builtin.template', 'redis.nft.j2') }}"
        validate: [nft, -c, -f, "%s"]
"""

RETURN = r"""
changed_paths:
  description: Paths that were changed, or would be in check mode, sorted.
  returned: always
  type: list
  elements: str
  sample: [/etc/redis/lifeline/6379.conf]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.act.files import work
from ansible.module_utils.lifeline.common.spec import run, unlogged


def entry_spec(secret):
    option = {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["file", "directory", "absent"], "default": "file"},
            "content": {"type": "str", "no_log": secret},
            "settings": {"type": "dict"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "str"},
            "force": {"type": "bool", "default": True},
            "validate": {"type": "list", "elements": "str"},
        },
        "required_if": [("state", "file", ("content", "settings"), True)],
        "mutually_exclusive": [("content", "settings")],
    }
    return unlogged(option)


def main():
    spec = {"files": entry_spec(secret=False), "secret_files": entry_spec(secret=True)}
    spec["only_owned"] = {"type": "str", "choices": ["server", "sentinel", "units"]}
    run(AnsibleModule(spec, supports_check_mode=True), work, shown=("files", "secret_files"))


if __name__ == "__main__":
    main()
