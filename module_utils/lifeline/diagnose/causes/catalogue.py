# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All causes, in the order of the documentation."""

from __future__ import annotations

from dataclasses import replace

from . import (
    clients,
    cluster,
    config,
    data,
    disk,
    memory,
    network,
    process,
    replication,
    rq,
    security,
    sentinel,
    symptom,
)
from .base import Cause

_FAMILIES = (
    process,
    disk,
    config,
    memory,
    data,
    replication,
    sentinel,
    clients,
    security,
    network,
    rq,
    cluster,
    symptom,
)

CATALOGUE: tuple[Cause, ...] = tuple(
    replace(cause, family=family.__name__.rpartition(".")[2]) for family in _FAMILIES for cause in family.CAUSES
)


def by_id(identifier: str) -> Cause:
    """The cause of that id. Raises KeyError."""
    return _BY_ID[identifier]


_BY_ID = {cause.id: cause for cause in CATALOGUE}
