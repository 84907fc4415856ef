# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis that is only a URL: what it leads to. Pure."""

from __future__ import annotations

from ..common.url import NO_URL
from ..common.words import address
from .topology import Node, Topology


def only_urls(topology: Topology) -> bool:
    """Whether all servers of an estate are URLs."""
    return bool(topology.nodes) and all(node.managed for node in topology.nodes.values())


def elsewhere(node: Node) -> str:
    """What a URL leads to that is not a primary, or why it leads nowhere, as a sentence begins; else empty."""
    if (node.error or "").startswith(NO_URL):
        return str(node.error)[len(NO_URL) :].strip().rstrip(".")
    if not node.alive:
        return ""
    if node.view.get("mode") == "sentinel":
        return "this URL is a sentinel's, which holds no data"
    if node.role == "replica":
        primary = node.view.get("primary") or {}
        return f"this URL is a replica's; its primary is {address(primary.get('host'), primary.get('port'))}"
    return ""
