# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lookup lifeline_template gives the text that ansible.builtin.template's lookup gives."""

from __future__ import annotations

from modules import ansible

TEMPLATE = r"""# {{ ansible_managed }}
{% import 'macros.j2' as macros %}
{% for name, value in settings.items() if value %}
{{ name }} = "{{ value }}" {{ macros.twice(name) }} {{ derived }}
{% endfor %}
{{ lone }}

"""

PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    settings: {one: 'a\\b "c" # %', two: '', three: '{{ derived }}'}
    derived: "{{ settings.one | length }}"
    lone: "{{ [1, 2] }}"
  tasks:
    - ansible.builtin.assert:
        that: ["'oneone' in ours", ours == theirs]
        fail_msg: "{{ [theirs, ours] | to_json }}"
      vars:
        theirs: "{{ lookup('ansible.builtin.template', 'page.j2') }}"
        ours: "{{ lookup('lifeline_template', 'page.j2') }}"
"""


def test_both_lookups_give_the_same_text(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.j2").write_text(TEMPLATE)
    (tmp_path / "templates" / "macros.j2").write_text("{% macro twice(word) %}{{ word ~ word }}{% endmacro %}\n")
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    done = ansible("ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_template_that_is_missing_is_named(tmp_path):
    (tmp_path / "play.yml").write_text(PLAYBOOK.replace("ansible.builtin.template", "lifeline_template"))
    done = ansible("ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml"))
    assert done.returncode != 0
    assert "the role has no template page.j2" in done.stdout + done.stderr
