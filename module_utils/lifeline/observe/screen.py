# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host said, as it came in over the connection: kept if it is a result of redis_health, in bounded form."""

from __future__ import annotations

from typing import Any, Mapping

from ..common.facts import clean_text, plain

# Characters of a module's result; a host's evidence has some 20,000, and posture of a large host 200,000.
RESULT_LIMIT = 4 << 20

# What is kept of a module's result. The rest could be anything, facts about the connection included.
_KEPT = ("evidence", "endpoints", "changed", "skipped", "unreachable", "failed")
_FOUND = "discovered_interpreter_"


def too_long(said: str) -> bool:
    """Whether nobody should begin to read it."""
    return len(said) > RESULT_LIMIT


def unreadable(why: str) -> dict[str, Any]:
    """The result of a host whose answer nobody can read."""
    return {"failed": True, "msg": f"Its answer cannot be read: {clean_text(why)[:200]}"}


def screened(result: Mapping[str, Any]) -> dict[str, Any]:
    """A module's result: evidence of plain values, of bounded depth; or the reason why there is none."""
    kept = {name: plain(result[name]) for name in _KEPT if name in result}
    internal = {name: value for name, value in result.items() if str(name).startswith("_ansible_")}
    facts = result.get("ansible_facts")
    if isinstance(facts, dict):
        found = {name: value for name, value in facts.items() if str(name).startswith(_FOUND)}
        internal.update({"ansible_facts": found} if found else {})
    if isinstance(result.get("msg"), str):
        kept["msg"] = clean_text(result["msg"])
    return {**internal, **kept}
