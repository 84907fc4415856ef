# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of a Molecule scenario's estates; molecule/NAME/verify.yml runs them with ``--scenario=NAME``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scene import Scene


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scenario", required=True, help="a directory of molecule/")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``estate`` stands for each of the scenario's estates in turn, ``host`` for each of their hosts."""
    scene = Scene(metafunc.config.getoption("scenario"))
    if "estate" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] != "test_switchover":
        metafunc.parametrize("estate", scene.estates, ids=str)
    if "host" in metafunc.fixturenames:
        metafunc.parametrize("host", [host for estate in scene.estates for host in estate.hosts])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Bad input and jobs are the same to every scenario: the one that has single servers and several, of Redis and of
    Valkey, tries them. Switchovers have a scenario of their own.
    """
    only = {"test_bad_input.py": "standalone", "test_requeue.py": "standalone", "test_switchover.py": "failover"}
    return only.get(collection_path.name, config.getoption("scenario")) != config.getoption("scenario") or None


@pytest.fixture(scope="session")
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.config.getoption("scenario"))
