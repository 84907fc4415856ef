# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run's connections to the estate: questions may be asked again, commands are sent once and written down."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Callable, Mapping, Optional, Sequence

from ...common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect
from ...diagnose.survey import build
from ...diagnose.topology import Topology
from ...observe.estate import collect, endpoints, parse_info

# How often a condition is looked at again, in seconds: in the pause, and where nobody waits.
QUICK_S = 0.005
POLL_S = 0.05

# How long one server may take to answer while writes wait, in seconds.
ANSWER_S = 1.0


class Session:
    """Whom to ask, as whom, until when, and what was sent."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.nodes = {node.name: node for node in endpoints(params["nodes"])}
        self.sentinels = {peer.name: peer for peer in endpoints(params["sentinels"] or [])}
        self.service: str = params["service"]
        self.credentials = Credentials.from_params(dict(params))
        self.timeout = float(params["timeout"])
        self.deadline = time.monotonic() + self.timeout
        self.sent: list[str] = []
        self.warnings: list[str] = []
        # Nodes that their own hosts have shown to be dead: counts against hearsay, and never against an answer.
        self.proven: list[str] = []
        self._clients: dict[Endpoint, Any] = {}

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            with suppress(*CONNECTION_ERRORS):
                client.close()
        self._clients.clear()

    def forget(self) -> None:
        """Use none of the connections made so far: after a fork, they are another process's too."""
        self._clients = {}

    def left(self) -> float:
        """Seconds that the run may still take."""
        return max(0.0, self.deadline - time.monotonic())

    def look(self) -> Topology:
        """The live topology, from this host's vantage point."""
        nodes, sentinels = list(self.nodes.values()), list(self.sentinels.values())
        evidence = collect("here", nodes, sentinels, self.service, self.credentials)
        return build([evidence], _plain(nodes), _plain(sentinels), self.service, proven=self.proven)

    def ask(self, server: Endpoint, *words: Any) -> Any:
        """The reply to a question. A connection that was closed under us (Sentinel closes the clients of a server whose
        role it changes) is opened again once. Raises what the client raises."""
        client = self._client(server)
        try:
            return client.execute_command(*words)
        except (ConnectionError, *CONNECTION_ERRORS) as error:
            if type(error).__name__ not in ("ConnectionError", "ConnectionResetError", "BrokenPipeError"):
                raise
            return client.execute_command(*words)

    def tell(self, server: Endpoint, *words: Any) -> Any:
        """Send a command once, and note it. Raises what the client raises; whether it arrived is then unknown."""
        self.sent.append(f"{server.name}: {' '.join(map(str, words))}")
        return self._client(server).execute_command(*words)

    def info(self, server: Endpoint) -> dict[str, Any]:
        """INFO of one server, raw."""
        found: dict[str, Any] = self.ask(server, "INFO")
        return found

    def view(self, server: Endpoint) -> dict[str, Any]:
        """What one data node says of itself, as the topology has it."""
        return parse_info(self.info(server))

    def role(self, server: Endpoint) -> str:
        """master, slave, or silent when it does not answer."""
        try:
            return str(self.ask(server, "ROLE")[0])
        except CONNECTION_ERRORS:
            return "silent"

    def _client(self, server: Endpoint) -> Any:
        if server not in self._clients:
            timeouts = (
                min(ANSWER_S, self.credentials.connect_timeout),
                min(ANSWER_S, self.credentials.command_timeout),
            )
            self._clients[server] = connect(server, self.credentials.with_timeouts(*timeouts))
        return self._clients[server]


def wait(condition: Callable[[], Any], seconds: float, pause: float = POLL_S) -> Any:
    """The first value of ``condition`` that is not None, or None when ``seconds`` have passed."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value is not None or time.monotonic() >= end:
            return value
        time.sleep(pause)


def endpoint_of(topology: Topology, name: Optional[str]) -> Optional[dict[str, Any]]:
    """``{name, host, port}`` of a node, the shape in which modules return one."""
    node = topology.nodes.get(name or "")
    return None if node is None else {"name": node.name, "host": node.host, "port": node.port}


def _plain(servers: Sequence[Endpoint]) -> list[dict[str, Any]]:
    return [{"name": server.name, "host": server.host, "port": server.port} for server in servers]
