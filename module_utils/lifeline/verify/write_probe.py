# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prove that an estate takes a write and gives it back, the way its application would ask."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import closing
from typing import Any, Optional

from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ..common.url import parse_url, url_from_file
from ..common.waiting import until
from ..errors import LifelineError
from ..observe.estate import endpoints, fields

# The key is deleted at once; should that fail it goes by itself.
EXPIRE_S = 60
POLL_S = 0.1


def prove(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Module ``redis_write_probe``: write, read and delete one key, trying again until ``wait`` seconds have passed.

    Returns ``{changed: False, address, waited_s}``. In check mode it sends PING and writes nothing.
    The address is empty when there was no ``url_file`` and none was needed.
    Raises LifelineError with the last reason when no write was taken in time.
    """
    if not params["url"] and params["url_optional"] and params["url_file"] and not os.path.exists(params["url_file"]):
        return {"changed": False, "address": "", "waited_s": 0.0, "written_at": 0.0}
    endpoint, credentials, database = _application(params)
    sentinels = endpoints(params["sentinels"] or [])
    started = time.monotonic()
    server: Optional[Endpoint] = None
    problem: Optional[str] = None

    def taken() -> bool:
        nonlocal server, problem
        server = _primary_from(sentinels, params["service"], credentials) if sentinels else endpoint
        if server is None:
            problem = "no sentinel names a primary"
        elif check:
            problem = _ask(server, credentials)
        else:
            problem = _write(server, credentials, database, params["key_prefix"])
        return problem is None

    if not until(taken, params["wait"], POLL_S):
        where = str(server) if server else f"the sentinels of {params['service']}"
        raise LifelineError(
            f"No write was taken through {where} within {params['wait']:.0f} s: {problem}; "
            "the service is not back for its applications."
        )
    return {
        "changed": False,
        "address": str(server),
        "waited_s": round(time.monotonic() - started, 3),
        "written_at": round(time.time(), 3),
    }


def _application(params: dict[str, Any]) -> tuple[Endpoint, Credentials, int]:
    """Where, as whom and to which database: as a URL or the application's own says, or as the options do."""
    if not (params["url"] or params["url_file"]):
        sentinels = params["sentinels"] and Endpoint("")
        return sentinels or Endpoint.from_params(params), Credentials.from_params(params), 0
    endpoint, credentials, database = parse_url(
        params["url"] or url_from_file(params["url_file"], params["url_variable"])
    )
    return endpoint, credentials.with_timeouts(params["connect_timeout"], params["command_timeout"]), database


def _primary_from(sentinels: list[Endpoint], service: str, credentials: Credentials) -> Optional[Endpoint]:
    for sentinel in sentinels:
        try:
            with closing(connect(sentinel, credentials)) as client:
                named = fields(client.execute_command("SENTINEL", "MASTER", service))
            return Endpoint(named["ip"], int(named["port"]))
        except (*CONNECTION_ERRORS, KeyError, ValueError):
            continue
    return None


def _write(server: Endpoint, credentials: Credentials, database: int, prefix: str) -> Optional[str]:
    """None when the value came back, else why not."""
    key, value = f"{prefix}{uuid.uuid4().hex}", uuid.uuid4().hex
    try:
        with closing(connect(server, credentials, db=database)) as client:
            client.set(key, value, ex=EXPIRE_S)
            found = client.get(key)
            client.delete(key)
    except CONNECTION_ERRORS as error:
        return reason(error)
    return None if found == value else "a value just written was not read back"


def _ask(server: Endpoint, credentials: Credentials) -> Optional[str]:
    try:
        with closing(connect(server, credentials)) as client:
            client.ping()
    except CONNECTION_ERRORS as error:
        return reason(error)
    return None
