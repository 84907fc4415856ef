# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Sentinel monitors, compared with what it should, and the commands that make it so."""

from __future__ import annotations

import hashlib
import re

_UNQUOTED = re.compile(r"[!-~]+")


def secret(password: str) -> str:
    """The password that Sentinel logs in with, for the one in the inventory: the same, unless Sentinel would break it.

    Sentinel writes passwords to its file without quotes (seen on Redis 7.0 and 8.0 and Valkey 8.1), so that one with a
    blank or a quote in it stops the next start. Such a password is replaced by a digest of it, of which the ACL file,
    that holds other digests, tells nothing.
    """
    if _UNQUOTED.fullmatch(password) and not set("\"'\\") & set(password):
        return password
    return hashlib.sha256(b"lifeline sentinel\0" + password.encode()).hexdigest() if password else ""
