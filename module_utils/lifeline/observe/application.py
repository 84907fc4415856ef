# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis as the application on this host reaches it: through the one URL in its environment file."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Optional, Union

from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ..common.url import parse_url, url_from_file
from ..errors import LifelineError

Place = tuple[Endpoint, Credentials, int]


def place(url: Optional[str], url_file: Optional[str], variable: str) -> Union[Place, str, None]:
    """(where, login, database) of a URL, or of the one in a file; why there is none as text; None without either."""
    if not url and not url_file:
        return None
    try:
        return parse_url(url or url_from_file(str(url_file), variable))
    except LifelineError as error:
        return str(error)


def look(where: Union[Place, str], seconds: float) -> dict[str, Any]:
    """``{configured, host, port, tls, user, database, reachable, role, error}``; reads only."""
    if isinstance(where, str):
        return {"configured": False, "error": where}
    endpoint, credentials, database = where
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
