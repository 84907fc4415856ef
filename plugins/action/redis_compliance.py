# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs redis_compliance on the control node: the evidence is here, and so are the reports of earlier runs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from control_node import ControlNodeModule  # needs the path above; the next ones need what it does to the path
from lifeline.compliance.judge import OPTIONS
from lifeline.compliance.run import work


class ActionModule(ControlNodeModule):
    """See the module's documentation."""

    options = OPTIONS
    work = work
