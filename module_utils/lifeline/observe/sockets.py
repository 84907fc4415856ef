# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's table of TCP sockets, and which addresses are in each other's way."""

from __future__ import annotations

import ipaddress
from typing import Optional

LISTENS = "0A"

Place = tuple[str, int]


def listeners(text: str) -> dict[str, Place]:
    """``{inode: (address, port)}`` of the sockets of /proc/net/tcp that listen; ``*`` and ``::`` are any address."""
    found = {}
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == LISTENS:
            place, _, port = words[1].rpartition(":")
            try:
                found[words[9]] = (address_of(place), int(port, 16))
            except ValueError:
                continue
    return found


def place_of(bind: str) -> Optional[Place]:
    """The address and port of what HAProxy binds, such as ``127.0.0.1:6379``; None for a socket or a range."""
    host, _, port = bind.strip().rpartition(":")
    if not port.isdigit() or "@" in host or host.startswith("/"):
        return None
    host = host.strip("[]")
    try:
        return (str(ipaddress.ip_address(host)), int(port))
    except ValueError:
        return ("127.0.0.1" if host == "localhost" else "*", int(port))


def overlap(one: str, other: str) -> bool:
    """Whether two sockets on these addresses would be in each other's way."""
    return one == other or bool({one, other} & {"*", "::", "0.0.0.0"})  # noqa: S104 - compared, not bound


def address_of(digits: str) -> str:
    """An address of /proc/net/tcp: the kernel writes 32-bit words in the machine's order; here: little endian."""
    if set(digits) == {"0"}:
        return "*" if len(digits) == 8 else "::"
    words = [digits[at : at + 8] for at in range(0, len(digits), 8)]
    octets = b"".join(bytes.fromhex(word)[::-1] for word in words)
    if len(octets) == 4:
        return ".".join(str(octet) for octet in octets)
    if octets[:12] == b"\0" * 10 + b"\xff\xff":
        return ".".join(str(octet) for octet in octets[12:])
    return str(ipaddress.IPv6Address(octets))
