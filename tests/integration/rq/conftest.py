# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server, a real RQ on it, and the modules; ``rq`` runs a test with each of the versions that it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rqlab import VERSIONS, Module, Rq, prepare
from servers import Server, Servers

EDGES = ("1.16.2", "3.0.0")


@pytest.fixture(scope="session", autouse=True)
def _environments() -> None:
    prepare(tuple(VERSIONS))


@pytest.fixture
def server(redis_server: Servers) -> Server:
    """An empty redis-server."""
    return redis_server()


@pytest.fixture(scope="session")
def rqs() -> Iterator[dict[str, Rq]]:
    """One process for each RQ version, for the whole session."""
    found = {version: Rq(version) for version in VERSIONS}
    yield found
    for process in found.values():
        process.close()


@pytest.fixture(params=EDGES)
def rq(request: pytest.FixtureRequest, server: Server, rqs: dict[str, Rq]) -> Rq:
    """Real RQ on ``server``: RQ 1.16 and 3.0, the two layouts, unless the test is parametrized otherwise."""
    return rqs[request.param].use(server.port)


@pytest.fixture
def client(server: Server) -> Any:
    """A client of ``server``, in bytes."""
    return server.client(decode_responses=False)


@pytest.fixture
def module(server: Server) -> Module:
    """The modules, talking to ``server``."""
    return Module(server)
