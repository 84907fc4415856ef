# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Role redis_recovery asks the run (module_utils/lifeline/loop.py): ``'urgent' | lifeline_recovery``."""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path
from typing import Any, Callable

from jinja2 import pass_context
from jinja2.runtime import Context, Undefined

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.common.facts import clean_all, plain  # needs the path above
from lifeline.loop import Recovery

# Texts for people, of which a host or server may have had a part.
TEXTS = ("refusal", "verdict", "outcome", "told", "tasks_failed", "not_announced")


@pass_context
def recovery(context: Context, question: str) -> Any:
    """What the run answers now, on the host whose turn it is: a property of ``loop.Recovery``."""

    def given(name: str) -> Any:
        value = context.resolve(name)
        return None if isinstance(value, Undefined) else plain(value)

    def said(host: str, name: str) -> Any:
        if host == mine:
            return given(name)
        notes = context.resolve("hostvars").get(host) or {}  # made anew for each time that somebody asks
        return plain(notes[name]) if name in notes else None

    mine = str(context.resolve("inventory_hostname"))
    run = Recovery(mine, given, said, time.time(), platform.node())
    answer = getattr(run, question)
    return clean_all(answer) if question in TEXTS else answer


class FilterModule:
    """Filters named lifeline_*."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"lifeline_recovery": recovery}
