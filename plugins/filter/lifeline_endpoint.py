# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What HAProxy's configuration is made of: a thin door to module_utils/lifeline/haproxy.py for the control node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline import haproxy


def requests(commands: list[list[str]]) -> str:
    """A list of Redis commands, each a list of words, in hexadecimal."""
    return haproxy.resp(*commands)


class FilterModule:
    """Filters named lifeline_*."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"lifeline_resp": requests, "lifeline_endpoint_servers": haproxy.servers}
