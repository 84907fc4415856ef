# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every playbook refuses before Ansible looks at a variable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from modules import ROOT, ansible

INVENTORY = """
all:
  vars:
    neighbour: pl4nted-neighbour
    vault_password: pl4nted-vaulted
  hosts:
    h1:
      ansible_connection: local
      ansible_python_interpreter: "%s"
      redis_password_application: "pl4nted{{ neighbour }}y"
      redis_password_replica: "pl4nted{# comment #}word"
      redis_password_sentinel: "{{ vault_password }}"
      redis_password_observer: !unsafe "pl4nted{{ neighbour }}"
      redis_password_operator: "pl4nted{{ 'unfinished"
      redis_server_users: [{name: u, password: "pl4nted{%%b", rules: "+@all"}]
  children:
    redis: {hosts: {h1: }}
    sentinel: {hosts: {h1: }}
"""

PLAYBOOKS = ("provision", "diagnose", "requeue")


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_B14_a_password_with_braces_is_refused_before_anything_shows_it(playbook: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(INVENTORY % sys.executable)
    done = ansible(
        "ansible-playbook", "-i", str(tmp_path / "hosts.yml"), str(ROOT / "playbooks" / f"{playbook}.yml"),
        "-e", "ansible_become=false", "--check", "-vv",
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    for name in ("application", "replica", "operator"):
        assert f"redis_password_{name} holds {{" in said, said
    assert "redis_server_users, password of u, holds {%" in said
    assert "redis_password_sentinel holds" not in said and "redis_password_observer holds" not in said
    assert "pl4nted" not in said, said
