# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter of role redis_guard. It reads variables as they are written, and loads in an ansible-core of any age."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

try:
    from ansible.template import is_trusted_as_template
except ImportError:  # older than 2.19, which is refused

    def is_trusted_as_template(value: object) -> bool:
        """Nothing is looked at."""
        return False


sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.inventory import intent


def problems(version: str, hostvars: Any, hosts: Sequence[str]) -> list[str]:
    """What speaks against this ansible-core, and against the passwords of these hosts."""
    old = intent.too_old(version)
    if old:
        return old
    found = [line for host in hosts for line in intent.taken_for_templates(host, written(hostvars.raw_get(host)))]
    return list(dict.fromkeys(found))


def written(raw: Mapping[str, Any]) -> dict[str, str]:
    """The passwords among a host's variables that Ansible would look for templates in."""
    found = {name: value for name, value in raw.items() if str(name).startswith("redis_password_")}
    users = raw.get("redis_server_users")
    for user in users if isinstance(users, list) else ():
        if isinstance(user, Mapping):
            found[f"redis_server_users, password of {user.get('name')},"] = user.get("password")
    return {name: str(value) for name, value in found.items() if is_trusted_as_template(value)}


class FilterModule:
    """The filter lifeline_guard."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"lifeline_guard": problems}
