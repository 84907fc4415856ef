# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All causes, in the order of the documentation."""

from __future__ import annotations

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

CATALOGUE: tuple[Cause, ...] = (
    *process.CAUSES,
    *disk.CAUSES,
    *config.CAUSES,
    *memory.CAUSES,
    *data.CAUSES,
    *replication.CAUSES,
    *sentinel.CAUSES,
    *clients.CAUSES,
    *security.CAUSES,
    *network.CAUSES,
    *rq.CAUSES,
    *cluster.CAUSES,
    *symptom.CAUSES,
)


def by_id(identifier: str) -> Cause:
    """The cause of that id. Raises KeyError."""
    return _BY_ID[identifier]


_BY_ID = {cause.id: cause for cause in CATALOGUE}
