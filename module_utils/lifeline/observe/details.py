# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a login that only watches may not ask: settings, with the replicas' password, and commands, with their data.

The host's own server is asked for these as another user. Trying it as the first one would fill ACL LOG with refusals.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any, Mapping, Optional, Sequence

from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect


def login(params: Mapping[str, Any], credentials: Credentials) -> Optional[Credentials]:
    """The way in of ``credentials`` for the user of the options; None without one."""
    user, password = params["details_user"], params["details_password"]
    return replace(credentials, user=user, password=password) if user and password else None


def ask(client: Any, way: Endpoint, details: Optional[Credentials], commands: Sequence[Sequence[str]]) -> list[Any]:
    """The replies to ``commands``, errors among them; of ``client`` where ``details`` is None or does not get in."""
    if details is not None:
        try:
            with closing(connect(way, details)) as other:
                return _replies(other, commands)
        except CONNECTION_ERRORS:
            pass  # a full server, or another password: the first login is in already
    return _replies(client, commands)


def _replies(client: Any, commands: Sequence[Sequence[str]]) -> list[Any]:
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    replies: list[Any] = pipe.execute(raise_on_error=False)
    return replies
