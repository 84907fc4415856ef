# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What recovery can do by itself, in the order of the ladder: the smallest step first.

Each remedy is a task file of that name in roles/redis_recovery/tasks/remedies; a cause names the one that repairs it.
All that a plan has to know of it stands with it.
"""

from __future__ import annotations

from dataclasses import dataclass

# Rungs of the ladder. A host does its steps in this order, and the estate is looked at again after them.
REPAIR = 10  # the cause is put right in place, nothing restarts
ADMIT = 15  # those who are refused are let in, before anybody waits for them
UNJAM = 20  # Sentinel is enabled to act
WAKE = 25  # sentinels that died are started, with their files in order
RETURN = 30  # a server that does not serve is brought back
PROMOTE = 40  # another server becomes the primary
CLIENTS = 50  # those who use it


@dataclass(frozen=True)
class Remedy:
    """One remedy. ``title`` is what a plan says it does.

    ``needs_mark``: the thing that it rewrites, which has to be Lifeline's on that host (``ownership``); empty where it
    goes through what is there. ``needs_primary``: it writes down whom a server follows. ``needs_answer``: the server
    has to let us in. ``needs_peers``: the other hosts are asked as well. ``brings_back``: a server or sentinel that is
    gone comes back by it. ``makes_primary``: there is another primary after it, or the old one again. ``can_wait``: the
    applications have what they need without it. ``catches_up``: the server has to catch up after it.
    ``followers``: kinds of steps that may come of it once the estate was looked at again. A plan announces them; any
    other kind waits for the next run, whose plan shows it, since nobody has agreed to it.
    """

    id: str
    rung: int
    title: str
    needs_mark: str = ""
    needs_primary: bool = False
    needs_answer: bool = False
    needs_peers: bool = False
    brings_back: bool = False
    makes_primary: bool = False
    can_wait: bool = False
    catches_up: bool = False
    followers: tuple[str, ...] = ()

    @property
    def by_topology(self) -> bool:
        """Whether the topology alone decides on it, with arguments of its own: a finding that names it adds nothing."""
        return self.brings_back or self.makes_primary


_FOLLOWERS = ("follow", "relink", "start_sentinel", "repoint_sentinel", "configure_sentinel", "save")
_PRIMARY = ("start_primary", "failover", *_FOLLOWERS)

REMEDIES: tuple[Remedy, ...] = (
    Remedy(
        id="restore_files",
        rung=REPAIR,
        title="give the server's files their owners, modes and contents back",
        needs_mark="server",
        followers=(*_PRIMARY, "rewrite_aof", "configure_server"),
    ),
    Remedy(
        id="reseed_config",
        rung=REPAIR,
        title="put the broken configuration aside and write the inventory's",
        needs_mark="server",
        needs_primary=True,
        followers=(*_PRIMARY, "configure_server"),
    ),
    Remedy(
        id="configure_server",
        rung=REPAIR,
        title="bring the running server to the inventory's settings, users and certificate",
        needs_mark="server",
        needs_primary=True,
        needs_answer=True,
        followers=_FOLLOWERS,
    ),
    Remedy(
        id="configure_sentinel",
        rung=UNJAM,
        title="give the sentinel its files, passwords and the live primary",
        needs_mark="sentinel",
        needs_primary=True,
        needs_peers=True,
        followers=("failover", *_FOLLOWERS),
    ),
    Remedy(
        id="renew_logins",
        rung=ADMIT,
        title="bring users and passwords of the host's server and sentinel to the inventory's",
        needs_mark="acl",
        needs_primary=True,
        followers=_PRIMARY,
    ),
    Remedy(
        id="patient_start",
        rung=REPAIR,
        title="let it load for up to an hour at its starts, until the host boots",
        needs_mark="server",
        followers=_PRIMARY,
    ),
    Remedy(
        id="scale",
        rung=REPAIR,
        title="give the server more room, as far as its host has it",
        needs_answer=True,
        followers=_FOLLOWERS,
    ),
    Remedy(
        id="kill_script",
        rung=REPAIR,
        title="end the script that blocks the server",
        followers=_PRIMARY,
    ),
    Remedy(
        id="save",
        rung=REPAIR,
        title="save the data again, now that it can be",
        needs_answer=True,
        followers=("rewrite_aof",),
    ),
    Remedy(
        id="rewrite_aof",
        rung=REPAIR,
        title="write a whole new append-only file out of memory",
        needs_answer=True,
        followers=("save",),
    ),
    Remedy(
        id="start_endpoint",
        rung=CLIENTS,
        title="give the application host its way to the primary back",
        needs_mark="endpoint",
    ),
    Remedy(
        id="firewall",
        rung=REPAIR,
        title="bring the host's own firewall rules back",
        needs_mark="firewall",
        followers=_PRIMARY,
    ),
    Remedy(
        id="start_primary",
        rung=RETURN,
        title="start the dead primary again",
        brings_back=True,
        makes_primary=True,
        followers=(*_PRIMARY, "rewrite_aof"),
    ),
    Remedy(
        id="start_sentinel",
        rung=WAKE,
        title="start the sentinel again",
        brings_back=True,
        can_wait=True,
        followers=("failover", *_FOLLOWERS),
    ),
    Remedy(
        id="repoint_sentinel",
        rung=UNJAM,
        title="point the sentinel at the live primary",
        needs_peers=True,
        brings_back=True,
        can_wait=True,
        followers=("start_sentinel", "configure_sentinel"),
    ),
    Remedy(
        id="relink",
        rung=RETURN,
        title="close the replica's link, which its primary does not hear, so that it comes back at once",
        needs_answer=True,
        can_wait=True,
        followers=("follow",),
    ),
    Remedy(
        id="follow",
        rung=RETURN,
        title="bring the server back as a replica",
        brings_back=True,
        can_wait=True,
        catches_up=True,
        followers=(*_FOLLOWERS, "rewrite_aof"),
    ),
    Remedy(
        id="failover",
        rung=PROMOTE,
        title="make a replica the primary",
        makes_primary=True,
        followers=_PRIMARY,
    ),
)

_BY_ID = {remedy.id: remedy for remedy in REMEDIES}

# Causes that change how a server comes back as a replica: what ``follow`` is told besides.
FOLLOW_WITH: dict[str, dict[str, bool]] = {
    "resync": {"fresh": True},
    "replace_frozen": {"kill": True},
    "await_copy": {},
}
# What is only waited for, and so is not worth a second try.
WAITS = ("await_copy",)


def remedy(identifier: str) -> Remedy:
    """The remedy of that id; one that asks for nothing where nobody knows it."""
    return _BY_ID.get(identifier) or Remedy(id=identifier, rung=REPAIR, title=identifier)


def title(identifier: str) -> str:
    """What a remedy does; its id where nobody knows it."""
    return remedy(identifier).title
