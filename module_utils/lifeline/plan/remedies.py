# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What recovery can do by itself, in the order of the ladder: the smallest step first.

Each remedy is a task file of that name in roles/redis_recovery/tasks/remedies; a cause names the one that mends it.
"""

from __future__ import annotations

from dataclasses import dataclass

# Rungs of the ladder. A host does its steps in this order, and the estate is looked at again after them.
MEND = 10  # the cause is put right in place, nothing restarts
ADMIT = 15  # those who are refused are let in, before anybody waits for them
UNJAM = 20  # Sentinel is enabled to act
WAKE = 25  # sentinels that died are started, with their files in order
RETURN = 30  # a server that does not serve is brought back
PROMOTE = 40  # another server becomes the primary
CLIENTS = 50  # those who use it


@dataclass(frozen=True)
class Remedy:
    """One remedy. ``title`` is what a plan says it does. ``needs_mark``: the thing that it rewrites, which has to be
    Lifeline's on that host (``ownership``); empty where it goes through what is there."""

    id: str
    rung: int
    title: str
    needs_mark: str = ""


REMEDIES: tuple[Remedy, ...] = (
    Remedy(
        id="restore_files",
        rung=MEND,
        title="give the server's files their owners, modes and contents back",
        needs_mark="server",
    ),
    Remedy(
        id="reseed_config",
        rung=MEND,
        title="put the broken configuration aside and write the inventory's",
        needs_mark="server",
    ),
    Remedy(
        id="configure_server",
        rung=MEND,
        title="bring the running server to the inventory's settings, users and certificate",
        needs_mark="server",
    ),
    Remedy(
        id="configure_sentinel",
        rung=UNJAM,
        title="give the sentinel its files, passwords and the live primary",
        needs_mark="sentinel",
    ),
    Remedy(
        id="renew_logins",
        rung=ADMIT,
        title="bring users and passwords of the host's server and sentinel to the inventory's",
        needs_mark="acl",
    ),
    Remedy(
        id="patient_start",
        rung=MEND,
        title="let it load for up to an hour at its starts, until the host boots",
        needs_mark="server",
    ),
    Remedy(
        id="scale",
        rung=MEND,
        title="give the server more room, as far as its host has it",
    ),
    Remedy(
        id="kill_script",
        rung=MEND,
        title="end the script that blocks the server",
    ),
    Remedy(
        id="save",
        rung=MEND,
        title="save the data again, now that it can be",
    ),
    Remedy(
        id="rewrite_aof",
        rung=MEND,
        title="write a whole new append-only file out of memory",
    ),
    Remedy(
        id="start_endpoint",
        rung=CLIENTS,
        title="give the application host its way to the primary back",
        needs_mark="endpoint",
    ),
    Remedy(
        id="firewall",
        rung=MEND,
        title="bring the host's own firewall rules back",
        needs_mark="firewall",
    ),
    Remedy(
        id="start_primary",
        rung=RETURN,
        title="start the dead primary again",
    ),
    Remedy(
        id="start_sentinel",
        rung=WAKE,
        title="start the sentinel again",
    ),
    Remedy(
        id="repoint_sentinel",
        rung=UNJAM,
        title="point the sentinel at the live primary",
    ),
    Remedy(
        id="relink",
        rung=RETURN,
        title="close the replica's link, which its primary does not hear, so that it comes back at once",
    ),
    Remedy(
        id="follow",
        rung=RETURN,
        title="bring the server back as a replica",
    ),
    Remedy(
        id="failover",
        rung=PROMOTE,
        title="make a replica the primary",
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

# Remedies that write down whom a server follows.
NEED_A_PRIMARY = ("reseed_config", "configure_server", "configure_sentinel", "renew_logins")

# Remedies that need a server which lets us in.
NEED_AN_ANSWER = ("configure_server", "save", "scale", "rewrite_aof", "relink")

# Remedies that ask the other hosts as well.
NEED_PEERS = ("repoint_sentinel", "configure_sentinel")

# What the topology alone decides on, with arguments of its own; a finding that names one of these adds nothing.
BRING_BACK = ("follow", "repoint_sentinel", "start_primary", "start_sentinel")
BY_TOPOLOGY = ("failover", *BRING_BACK)


# What may follow a step that was shown, once the estate was looked at again: a plan announces these kinds in words. Any
# other kind waits for the next run, whose plan shows it, since nobody has agreed to it.
_FOLLOWERS = ("follow", "relink", "start_sentinel", "repoint_sentinel", "configure_sentinel", "save")
NEW_PRIMARY = ("start_primary", "failover")
_PRIMARY = (*NEW_PRIMARY, *_FOLLOWERS)
AFTERWARDS: dict[str, tuple[str, ...]] = {
    "restore_files": (*_PRIMARY, "rewrite_aof", "configure_server"),
    "reseed_config": (*_PRIMARY, "configure_server"),
    "configure_server": _FOLLOWERS,
    "configure_sentinel": ("failover", *_FOLLOWERS),
    "renew_logins": _PRIMARY,
    "patient_start": _PRIMARY,
    "scale": _FOLLOWERS,
    "kill_script": _PRIMARY,
    "save": ("rewrite_aof",),
    "rewrite_aof": ("save",),
    "start_endpoint": (),
    "firewall": _PRIMARY,
    "start_primary": (*_PRIMARY, "rewrite_aof"),
    "start_sentinel": ("failover", *_FOLLOWERS),
    "repoint_sentinel": ("start_sentinel", "configure_sentinel"),
    "relink": ("follow",),
    "follow": (*_FOLLOWERS, "rewrite_aof"),
    "failover": _PRIMARY,
}


def title(identifier: str) -> str:
    """What a remedy does; its id where nobody knows it."""
    return _BY_ID[identifier].title if identifier in _BY_ID else identifier


def rung(identifier: str) -> int:
    """Where on the ladder a remedy stands."""
    return _BY_ID[identifier].rung if identifier in _BY_ID else MEND


def needs_mark(identifier: str) -> str:
    """The thing that a remedy rewrites and that must be Lifeline's; empty where there is none."""
    return _BY_ID[identifier].needs_mark if identifier in _BY_ID else ""
