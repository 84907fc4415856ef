# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One compromised host of three lies, in every field of its evidence: no honest host comes to harm by it.

The estate is healthy, so whatever a plan does to an honest host is done on the liar's word alone. The table walks every
field with a set of lies; hypothesis tells several at once.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from estates import Estate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifeline.diagnose import evidence
from lifeline.plan.diagnosis import diagnose

# What a step on an honest host may never be on one host's word: it ends, moves, empties or blocks what serves. The
# other steps bring a host to what the inventory says of it, which a healthy host already is: there they change nothing.
HARMFUL = frozenset({
    "failover", "follow", "start_primary", "reseed_config", "kill_script", "rewrite_aof", "scale", "patient_start",
    "relink",
})  # fmt: skip

# Seconds that one diagnosis of three hosts may take, whatever they say; it takes 0.02.
DEADLINE_S = 2.0

LOOK = "1"
PLANTED = "/planted/by-the-liar"
LIES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**62, "", "master", "slave", "redis2", "192.0.2.2", PLANTED, "poweroff.target",
    "refused: no answer", "failed", "b" * 40, {"host": "192.0.2.2", "port": 6379, "link_up": True}, [],
)  # fmt: skip


def fields(place: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a document, branches and leaves."""
    if path:
        yield path
    keys = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
    for key in keys:
        yield from fields(place[key], (*path, key))


def told(document: dict[str, Any], lies: list[tuple[tuple[Any, ...], Any]]) -> dict[str, Any]:
    """A copy of the document with lies in it; what an earlier lie took away is passed over."""
    changed = copy.deepcopy(document)
    for path, lie in lies:
        place: Any = changed
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = copy.deepcopy(lie)
        except (KeyError, IndexError, TypeError):
            continue
    return changed


def harm(estate: Estate, liar: str, lies: list[tuple[tuple[Any, ...], Any]]) -> list[str]:
    """What comes of it for honest hosts: harmful steps, and words of the liar's in what a step is given."""
    document = told(estate.evidence[liar], lies)
    results = {
        name: {"evidence": document if name == liar else own, "look": evidence.stamp(name, LOOK)}
        for name, own in estate.evidence.items()
    }
    begun = time.monotonic()
    said = diagnose({"service": estate.service, "nodes": estate.nodes, "sentinels": estate.sentinels,
                     **evidence.seen(results, estate.service, LOOK)})  # fmt: skip
    took = time.monotonic() - begun
    wrong = [f"it took {took:.1f} s"] if took > DEADLINE_S else []
    for action in said["plan"]["actions"]:
        given_to = json.dumps(action["args"])
        waits = "let it finish" in said["plan"]["summary"]  # for a failover of Sentinel's own: the module only looks
        if action["host"] != liar and action["remedy"] in HARMFUL and not waits:
            wrong.append(f"{action['remedy']} on {action['host']}: {action['why']}")
        if action["host"] != liar and (PLANTED in given_to or "poweroff" in given_to):
            wrong.append(f"{action['remedy']} on {action['host']} is given {given_to}")
    return wrong


def lies_for(number: int, path: tuple[Any, ...], liar: str) -> tuple[Any, ...]:
    """All lies for what a host says of its own server; elsewhere some, each field others than the one before it."""
    return LIES if path[:2] == ("nodes", liar) else LIES[number % 6 :: 6]


@pytest.mark.parametrize("liar", ["redis1", "redis2"], ids=["primary", "replica"])
def test_no_single_lie_harms_an_honest_host(liar: str) -> None:
    estate = Estate()
    wrong = {
        f"{'.'.join(map(str, path))} = {str(lie)[:40]!r}": found
        for number, path in enumerate(fields(estate.evidence[liar]))
        for lie in lies_for(number, path, liar)
        if (found := harm(estate, liar, [(path, lie)]))
    }
    assert not wrong, "\n".join(f"{lie}: {found}" for lie, found in list(wrong.items())[:40]) + f"\n{len(wrong)} lies"


PLACES = list(fields(Estate().evidence["redis2"]))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["redis1", "redis2", "redis3"]),
    st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(LIES)), min_size=2, max_size=12),
)
def test_no_set_of_lies_harms_an_honest_host(liar: str, lies: list[tuple[tuple[Any, ...], Any]]) -> None:
    assert not harm(Estate(), liar, lies)
