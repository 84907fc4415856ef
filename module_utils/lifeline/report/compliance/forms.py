# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One report in the forms that people and programs read, all made of ``compliance.assess``'s report alone."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping

from . import html, junit, markdown, prometheus, sarif

Report = Mapping[str, Any]

FILES = {
    "json": "compliance.json",
    "junit": "compliance.xml",
    "sarif": "compliance.sarif",
    "prometheus": "compliance.prom",
    "markdown": "compliance.md",
    "html": "compliance.html",
}


def _json(report: Report) -> str:
    return json.dumps(report, indent=1, sort_keys=True) + "\n"


_RENDER: dict[str, Callable[[Report], str]] = {
    "json": _json,
    "junit": junit.render,
    "sarif": sarif.render,
    "prometheus": prometheus.render,
    "markdown": markdown.render,
    "html": html.render,
}


def render(name: str, report: Report) -> str:
    """The text of a report in one of ``FILES``' forms."""
    return _RENDER[name](report)
