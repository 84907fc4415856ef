# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every test shares: where the project is, and an import path that finds ``lifeline`` and the tests' own tools."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Where `make setup` puts a redis-server; what few machines have in sbin comes after it.
os.environ["PATH"] = f"{ROOT / '.cache' / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"

for directory in (ROOT / "tests" / "tools", ROOT / "module_utils"):
    sys.path.insert(0, str(directory))


# How long one example takes is the machine's affair: on a busy one it is no fault.
settings.register_profile("lifeline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lifeline")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's top directory."""
    return ROOT
