# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception that a module turns into a failure."""

from __future__ import annotations

from typing import Any

from .common.facts import clean_text

# A sentence that quotes a command's output is no longer than this.
LIMIT = 4000


class LifelineError(Exception):
    """One sentence for the operator: what failed, where, why, and what to do next.

    ``partial`` is what had been found out or done by then; the module returns it beside the sentence. Much of a
    sentence is quoted from servers and hosts, which must not steer a terminal: it is cleaned here, for all doors.
    """

    def __init__(self, message: str, **partial: Any) -> None:
        super().__init__(clean_text(message, LIMIT))
        self.partial = partial
