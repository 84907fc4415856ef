# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All controls, in the order of the documentation."""

from __future__ import annotations

from . import access, data, hardening, host, network, operation, replication, sentinels
from .base import Control

CATALOGUE: tuple[Control, ...] = tuple(
    sorted(
        (
            *access.CONTROLS,
            *network.CONTROLS,
            *hardening.CONTROLS,
            *data.CONTROLS,
            *replication.CONTROLS,
            *sentinels.CONTROLS,
            *operation.CONTROLS,
            *host.CONTROLS,
        ),
        key=lambda control: (control.id.startswith("HST"), control.id),
    )
)
BY_ID = {control.id: control for control in CATALOGUE}
