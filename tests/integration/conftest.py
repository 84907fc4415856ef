# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures with real servers and real modules.

``redis_server(tls=True, users={"app": ("password", "~* +@all")}, config={...}, replica_of=other)`` starts a server and
ends it after the test; ``redis_server.sentinel("name", primary)`` starts a Sentinel. See tools/servers.py.

``run_module("redis_config", {**server.login(), ...}, check=True)`` runs a module as a host would, twice over: every
test that uses it runs with the oldest and with the newest supported redis-py. See tools/modules.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from modules import OLDEST, Modules, environment
from servers import Servers, TlsFiles, make_tls


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """The CA and certificate that ``redis_server(tls=True)`` uses."""
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA that signed nothing that the servers show."""
    return make_tls(tmp_path_factory.mktemp("other-tls"), "other").ca


@pytest.fixture
def redis_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Servers]:
    """A factory of real servers; all of them are gone after the test."""
    servers = Servers(tmp_path, cache(lambda: request.getfixturevalue("tls_files")))
    yield servers
    servers.close()


@pytest.fixture(scope="session", params=["oldest", "newest"], ids=["redis-py-oldest", "redis-py-newest"])
def run_module(request: pytest.FixtureRequest) -> Modules:
    """Runs a module of library/ in a process of its own."""
    if request.param == "oldest":
        return Modules(environment(OLDEST), OLDEST[0])
    return Modules(Path(sys.executable), "newest")
