# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The members of an estate, for modules that look at all of it; the spec is ``spec.estate_spec``."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  nodes:
    description: All Redis servers of the estate, as the inventory names them.
    type: list
    elements: dict
    required: true
    suboptions: &endpoint
      name:
        description: Inventory name; the address when left out.
        type: str
      host:
        description: Address.
        type: str
        required: true
      port:
        description: Port.
        type: int
        required: true
  sentinels:
    description: All sentinels of the estate; empty where there is no Sentinel.
    type: list
    elements: dict
    default: []
    suboptions: *endpoint
  service:
    description: Name that Sentinel monitors the estate under; without Sentinel any name of the estate.
    type: str
    required: true
"""
