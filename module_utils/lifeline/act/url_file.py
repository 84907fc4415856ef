# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module redis_url: an application's EnvironmentFile names another address."""

from __future__ import annotations

from typing import Any

from ..common import reading
from ..common.url import repointed
from ..errors import LifelineError
from . import files


def point(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """The module redis_url. Raises LifelineError when no variable holds a URL."""
    path, before = params["path"], {}
    try:
        text = old = reading.text(path, "strict")
    except OSError as error:
        raise LifelineError(f"{path} cannot be read on this host ({error.strerror}): name the right file.") from None
    for variable in params["variables"]:
        text, address = repointed(text, variable, params["host"], params["port"])
        if address:
            before[variable] = address
    if not before:
        raise LifelineError(f"{path} on this host sets none of {', '.join(params['variables'])} to a Redis URL.")
    if text != old and not check:
        files.work({"secret_files": [{"path": path, "content": text}]}, False)
    after = dict.fromkeys(before, f"{params['host']}:{params['port']}")
    return {"changed": text != old, "before": before, "diff": {"before": before, "after": after}}
