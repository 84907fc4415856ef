# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one place from which REPLICAOF is sent to a server that is to follow another.

A server that follows drops what it holds, so it is asked first what would be lost. What the new primary says of itself
never proves that a server which takes writes has nothing of its own: it could claim anything.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Union

from ..errors import LifelineError


def at_stake(target: Mapping[str, Any], primary: Mapping[str, Any]) -> str:
    """What REPLICAOF would drop that only ``target`` may hold, as a clause; empty when there is nothing.

    Both are views as ``observe.parse_info`` gives them; a primary that does not answer is an empty one.
    """
    if target.get("loading"):
        return "it is still loading, so nobody can tell what it holds"
    keys = target.get("keys")
    if keys == 0:
        return ""
    if target.get("role") != "slave":
        return f"it takes writes itself and holds {keys} keys"
    mine, offset = target.get("replid"), int(target.get("offset") or 0)
    if mine and mine == primary.get("replid"):
        ahead = offset - int(primary.get("offset") or 0)
    elif mine and mine == primary.get("replid2"):
        ahead = offset - int(primary.get("second_offset", -1)) + 1
    else:
        return f"its {keys} keys have no history in common with the new primary's that anybody could prove"
    return f"it is {ahead} bytes ahead of the new primary" if ahead > 0 else ""


def replicaof(
    tell: Callable[..., Any],
    address: tuple[str, Union[int, str]],
    target: Mapping[str, Any],
    primary: Mapping[str, Any],
    *,
    kept: bool = False,
) -> None:
    """Send REPLICAOF ``address`` by ``tell``, unless ``target`` would lose what only it holds.

    ``kept``: a checked copy of what it holds exists, or a person has said that this may be lost. Raises LifelineError
    without having sent anything, and what ``tell`` raises.
    """
    why = "" if kept else at_stake(target, primary)
    if why:
        raise LifelineError(f"it was not told to follow {address[0]}:{address[1]}, since {why}, and no copy was kept")
    tell("REPLICAOF", address[0], address[1])
