# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A role's template as text, without what makes ansible.builtin.template's lookup slow.

That one copies all variables of the host, the evidence and the facts among them, for each template: with four templates
a host it took two thirds of the CPU time of a task that writes a server's files (measured with ansible-core 2.19).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

DOCUMENTATION = r"""
name: lifeline_template
short_description: Render a template of the role
description:
  - Does what the lookup P(ansible.builtin.template#lookup) does with its defaults, on the variables as they are.
options:
  _terms:
    description: Names of templates in the role's C(templates) directory.
    required: true
"""

EXAMPLES = r"""
- name: Write a unit file
  config_files:
    files:
      - path: /etc/systemd/system/orders.service
        content: "{{ lookup('lifeline_template', 'orders.service.j2') }}"
"""

RETURN = r"""
_raw:
  description: The text of each template.
  type: list
  elements: str
"""


class LookupModule(LookupBase):  # type: ignore[misc] # Ansible's is untyped
    """The lookup lifeline_template."""

    def run(self, terms: list[str], variables: Optional[dict[str, Any]] = None, **_options: Any) -> list[str]:
        """The text of each template in ``terms``. Raises AnsibleError where there is no such file."""
        known = variables or {}
        return [self._render(term, known) for term in terms]

    def _render(self, name: str, variables: dict[str, Any]) -> str:
        found = self.find_file_in_search_path(variables, "templates", name)
        if not found:
            raise AnsibleError(f"lifeline_template: the role has no template {name}.")
        path = Path(found)
        templar = self._templar.copy_with_new_env(
            searchpath=[str(path.parent)],
            available_variables={"ansible_managed": "Ansible managed", **variables},
        )
        text = trust_as_template(path.read_text(encoding="utf-8"))
        return str(templar.template(text, preserve_trailing_newlines=True, escape_backslashes=False))
