# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a unit and a configuration file are a server's, asked on its own host before root acts upon them.

Whoever named them may have been lied to: neither is taken on anybody's word.
"""

from __future__ import annotations

import os
import re
from typing import Any, Mapping

from ..common.atomic import folder
from ..common.folders import regular
from ..common.shell import output
from ..common.values import number
from ..errors import LifelineError
from ..observe.running import SERVER, Running

UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,246}\.service")

# A server's configuration has one of these, and is not longer than this.
_DIRECTIVES = re.compile(r"^[ \t]*(?:port|tls-port|dir|dbfilename|appendonly)[ \t]+\S", re.MULTILINE | re.IGNORECASE)
_MOST_BYTES = 1 << 20

_COMMAND = re.compile(r"redis|valkey|keydb", re.IGNORECASE)


def config_of_server(path: str) -> str:
    """The text of a server's configuration file. Raises LifelineError where it is none: nothing is done then."""
    try:
        with folder(os.path.dirname(path)) as place, regular(place, os.path.basename(path)) as file:
            text = os.read(file, _MOST_BYTES + 1).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise LifelineError(
            f"{path} cannot be read as a configuration file: {error.strerror}; nothing was changed. Correct the "
            "inventory, or give the host its file back."
        ) from error
    if len(text) > _MOST_BYTES or not _DIRECTIVES.search(text):
        raise LifelineError(f"{path} is not the configuration of a Redis server; nothing was changed.")
    return text


def unit_of_server(name: str, state: Mapping[str, Any]) -> None:
    """Raises LifelineError where ``name`` is no unit of a server: nothing is done to it then.

    ``state``: what ``unit_states`` says of it. What runs in it has to be a server, else what would start.
    """
    if not UNIT.fullmatch(name):
        raise LifelineError(f"{name!r} is not the name of a systemd service; nothing was changed.")
    pid = number(state.get("pid"))
    if pid:
        running = Running().process(pid)
        if running is not None and not any(
            SERVER.fullmatch(word) for word in (running.name, os.path.basename(running.exe))
        ):
            raise LifelineError(f"{name} runs {running.name}, which is not a Redis server; nothing was changed.")
    elif state.get("load") == "loaded":
        starts = output(["systemctl", "show", "--property=ExecStart", "--", name])
        if starts.strip() and not _COMMAND.search(starts):
            raise LifelineError(f"{name} does not start a Redis server; nothing was changed.")
