# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue of outages: one object a cause, one file a family.

To teach Lifeline another outage, add a ``Cause`` to the file of its family here and an injector of the same id in
``tests/faults``. The diagnosis, the documentation and the tests find both by the id.
"""

from __future__ import annotations

from ..case import FRESH_S, Case, Host, Server, Watcher
from .base import CERTAIN, CRITICAL, EVERYBODY, INFO, LIKELY, POSSIBLE, WARNING, Cause, Match
from .catalogue import CATALOGUE, by_id

__all__ = [
    "CATALOGUE",
    "CERTAIN",
    "CRITICAL",
    "EVERYBODY",
    "FRESH_S",
    "INFO",
    "LIKELY",
    "POSSIBLE",
    "WARNING",
    "Case",
    "Cause",
    "Host",
    "Match",
    "Server",
    "Watcher",
    "by_id",
]
