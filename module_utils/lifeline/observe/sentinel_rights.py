# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Sentinel's user needs on the servers that it watches, by the server's version: the one table of it.

Measured on Redis 7.0.15 and Valkey 9.1.2: with ``NEEDED`` sentinels fail over, by themselves and when asked. Valkey's
documents name more from 9.0 on; only SENTINEL FAILOVER ... COORDINATED uses it, which answers OK and does nothing
without. Lifeline has a sequence of its own instead, whose pause is shorter.
"""

from __future__ import annotations

from ..common.facts import version

NEEDED = (
    "multi", "exec", "ping", "info", "role", "slaveof", "publish", "subscribe", "config|rewrite",
    "client|setname", "client|kill", "script|kill",
)  # fmt: skip

# (Valkey's version, what its documents name from there on beside NEEDED). "+client" allows client|list as well.
TOLERATED = (((9,), frozenset({"failover", "client|list", "client|pause", "client|unpause"})),)


def tolerated(valkey_version: str) -> frozenset[str]:
    """What more the user may have, as the documents of the server's version give it; nothing more on Redis."""
    given = [commands for first, commands in TOLERATED if version(valkey_version) >= first]
    return frozenset[str]().union(*given)
