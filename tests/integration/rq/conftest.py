# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server, a real RQ on it, and the modules; ``rq`` runs a test with each of the versions that it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from lifeline.errors import LifelineError
from lifeline.rq import hold, info, options, requeue
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


class Module:
    """What rq_requeue, rq_info and rq_hold do, in this process; test_ansible.py runs them as modules."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def requeue(self, *, check: bool = False, fails: bool = False, **given: Any) -> dict[str, Any]:
        """rq_requeue; everything of the queue default unless the options say otherwise."""
        return self._run(options.requeue(), requeue.work, check, fails, {"queues": ["default"], **given})

    def info(self, fails: bool = False, **given: Any) -> dict[str, Any]:
        """rq_info."""
        return self._run(options.info(), info.work, False, fails, given)

    def hold(self, *, check: bool = False, fails: bool = False, **given: Any) -> dict[str, Any]:
        """rq_hold; everything of the queue default unless the options say otherwise."""
        return self._run(options.hold(), hold.work, check, fails, {"queues": ["default"], **given})

    def _run(self, spec: Any, work: Any, check: bool, fails: bool, given: dict[str, Any]) -> dict[str, Any]:
        if "all_jobs" in spec:
            given.setdefault("all_jobs", True)
        checked = ArgumentSpecValidator(spec).validate({**self.server.login(), **given})
        assert not checked.error_messages, checked.error_messages
        try:
            result: dict[str, Any] = work(checked.validated_parameters, check)
        except LifelineError as error:
            assert fails, str(error)
            return {"msg": str(error), **error.partial}
        assert not fails, result
        return result


@pytest.fixture
def module(server: Server) -> Module:
    """The modules, talking to ``server``."""
    return Module(server)
