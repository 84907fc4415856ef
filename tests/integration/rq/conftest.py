# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server, a real RQ on it, and the modules; ``rq`` runs a test with each of the versions that it asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modules import Modules, Result
from rqlab import VERSIONS, Rq, prepare
from servers import Server, Servers

EDGES = ("1.16.2", "3.0.0")


@pytest.fixture(scope="session", autouse=True)
def _environments() -> None:
    prepare(tuple(VERSIONS))


@pytest.fixture
def server(redis_server: Servers) -> Server:
    """An empty redis-server."""
    return redis_server()


@pytest.fixture(params=EDGES)
def rq(request: pytest.FixtureRequest, server: Server) -> Iterator[Rq]:
    """Real RQ on ``server``: RQ 1.16 and 3.0, the two layouts, unless the test is parametrized otherwise."""
    found = Rq(request.param, server.port)
    yield found
    found.close()


@pytest.fixture
def client(server: Server) -> Any:
    """A client of ``server``, in bytes."""
    return server.client(decode_responses=False)


class Module:
    """rq_requeue and rq_info against one server."""

    def __init__(self, server: Server) -> None:
        self.run = Modules(Path(sys.executable), "newest")
        self.server = server

    def requeue(self, *, check: bool = False, fails: bool = False, **options: Any) -> Result:
        """Run rq_requeue; everything of the queue default unless the options say otherwise."""
        options = {"queues": ["default"], "all_jobs": True, **self.server.login(), **options}
        return self.run("rq_requeue", options, check=check, fails=fails)

    def info(self, **options: Any) -> Result:
        """Run rq_info."""
        return self.run("rq_info", {**self.server.login(), **options})


@pytest.fixture
def module(server: Server) -> Module:
    """The modules, talking to ``server``."""
    return Module(server)
