# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis as the application on this host reaches it: through the one URL in its environment file."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from ..client import CONNECTION_ERRORS, connect, reason
from ..errors import LifelineError
from ..url import parse_url, url_from_file


def look(url_file: str, variable: str, seconds: float) -> dict[str, Any]:
    """``{configured, host, port, tls, user, database, reachable, role, error}``; reads only."""
    try:
        endpoint, credentials, database = parse_url(url_from_file(url_file, variable))
    except LifelineError as error:
        return {"configured": False, "error": str(error)}
    view: dict[str, Any] = {
        "configured": True,
        "host": endpoint.host,
        "port": endpoint.port,
        "tls": credentials.tls,
        "user": credentials.user or "default",
        "database": database,
        "reachable": False,
        "role": "",
        "error": "",
    }
    try:
        with closing(connect(endpoint, credentials.with_timeouts(seconds, seconds), db=database)) as client:
            client.ping()
            view["reachable"] = True
            view["role"] = {"master": "primary", "slave": "replica"}.get(str(client.execute_command("ROLE")[0]), "")
    except CONNECTION_ERRORS as error:
        view["error"] = reason(error)
    return view
