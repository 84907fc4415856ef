# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prove that an estate takes a write and gives it back, the way its application would ask."""

from __future__ import annotations

import time
import uuid
from typing import Any, Optional

from .client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from .errors import LifelineError
from .observe import endpoints, fields

# The key is deleted at once; should that fail it goes by itself.
EXPIRE_S = 60
POLL_S = 0.1


def prove(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Module ``redis_canary``: write, read and delete one key, trying again until ``wait`` seconds have passed.

    Returns ``{changed: False, address, waited_s}``. In check mode it sends PING and writes nothing.
    Raises LifelineError with the last reason when no write was taken in time.
    """
    credentials = Credentials.from_params(params)
    sentinels = endpoints(params["sentinels"] or [])
    started = time.monotonic()
    last: Optional[str] = None
    while True:
        server = _primary_from(sentinels, params["service"], credentials) if sentinels else Endpoint.from_params(params)
        if server is not None:
            last = _ask(server, credentials) if check else _write(server, credentials, params["key_prefix"])
            if last is None:
                waited = time.monotonic() - started
                return {"changed": False, "address": str(server), "waited_s": round(waited, 3)}
        else:
            last = "no sentinel names a primary"
        if time.monotonic() - started >= params["wait"]:
            where = str(server) if server else f"the sentinels of {params['service']}"
            raise LifelineError(
                f"No write was taken through {where} within {params['wait']:.0f} s: {last}; "
                "the service is not back for its applications."
            )
        time.sleep(POLL_S)


def _primary_from(sentinels: list[Endpoint], service: str, credentials: Credentials) -> Optional[Endpoint]:
    for sentinel in sentinels:
        client = connect(sentinel, credentials)
        try:
            named = fields(client.execute_command("SENTINEL", "MASTER", service))
            return Endpoint(named["ip"], int(named["port"]))
        except (*CONNECTION_ERRORS, KeyError, ValueError):
            continue
        finally:
            client.close()
    return None


def _write(server: Endpoint, credentials: Credentials, prefix: str) -> Optional[str]:
    """None when the value came back, else why not."""
    key, value = f"{prefix}{uuid.uuid4().hex}", uuid.uuid4().hex
    client = connect(server, credentials)
    try:
        client.set(key, value, ex=EXPIRE_S)
        found = client.get(key)
        client.delete(key)
    except CONNECTION_ERRORS as error:
        return reason(error)
    finally:
        client.close()
    return None if found == value else "a value just written was not read back"


def _ask(server: Endpoint, credentials: Credentials) -> Optional[str]:
    client = connect(server, credentials)
    try:
        client.ping()
    except CONNECTION_ERRORS as error:
        return reason(error)
    finally:
        client.close()
    return None
