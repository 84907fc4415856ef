# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where Redis is reached: HAProxy's configuration, and what a URL says. Thin doors for the control node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.act import endpoint
from lifeline.common import url
from lifeline.inventory import managed


def requests(commands: list[list[str]]) -> str:
    """A list of Redis commands, each a list of words, in hexadecimal."""
    return endpoint.resp(*commands)


class FilterModule:
    """Filters named lifeline_*."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "lifeline_resp": requests,
            "lifeline_endpoint_servers": endpoint.servers,
            "lifeline_url_place": url.place,
            "lifeline_url_refusal": managed.refusal,
        }
