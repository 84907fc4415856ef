# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summary of a failed run says what failed: it is all that is left of a run whose log was cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_output import failures

PLAY = """
- hosts: one,two
  gather_facts: false
  connection: local
  tasks:
    - name: A failure that does not matter
      ansible.builtin.assert:
        that: false
        fail_msg: not this one
      ignore_errors: true  # an ignored failure must not be named
    - name: Fail in one place
      ansible.builtin.fail:
        msg: "a sentence, long enough to be folded: {{ 'and on ' * 20 }}{{ inventory_hostname }}"
      when: inventory_hostname == 'two'
    - name: Fail everywhere
      ansible.builtin.command: /bin/false
"""


@pytest.mark.parametrize("talk", [(), ("-vvv",)], ids=["quiet", "verbose"])
def test_what_failed_is_named_with_its_host_and_message(tmp_path: Path, talk: tuple[str, ...]) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "one,two,", "play.yml", *talk]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    found = failures(done.stdout)
    assert (
        found[0] == "task 'Fail in one place' on two: a sentence, long enough to be folded: " + "and on " * 20 + "two"
    )
    assert [line.partition(":")[0] for line in found[1:]] == ["task 'Fail everywhere' on one"]


def test_pytests_own_lines_are_kept() -> None:
    assert failures("x\nFAILED tests/a.py::test_b - assert 1\n") == ["FAILED tests/a.py::test_b - assert 1"]
