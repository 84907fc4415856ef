# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception that a module turns into a failure."""

from __future__ import annotations

from typing import Any


class LifelineError(Exception):
    """One sentence for the operator: what failed, where, why, and what to do next.

    ``partial`` is what had been found out or done by then; the module returns it beside the sentence.
    """

    def __init__(self, message: str, **partial: Any) -> None:
        super().__init__(message)
        self.partial = partial
