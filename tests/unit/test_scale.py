# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is raised, by how much, and where the host ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.act.scale import Room, plan, size
from lifeline.errors import LifelineError

MIB = 1024**2
FULL = Room(
    maxmemory=1024 * MIB, used_memory=1000 * MIB, maxclients=10000, connected=100, files=11024,
    ceiling=4096 * MIB, files_ceiling=1048576,
)  # fmt: skip


def test_what_is_nearly_used_up_is_raised_and_then_has_room() -> None:
    found = plan(FULL, 0, 0, 1.5, 80)
    assert (found.maxmemory, found.maxclients, found.files, found.notes) == (1536 * MIB, None, None, [])
    after = replace(FULL, maxmemory=found.maxmemory or 0)
    assert plan(after, 0, 0, 1.5, 80).maxmemory is None


def test_an_almost_empty_server_at_a_tiny_limit_gets_room_too() -> None:
    tiny = replace(FULL, maxmemory=2 * MIB, used_memory=4 * MIB)
    assert plan(tiny, 0, 0, 1.5, 80).maxmemory == 16 * MIB
    assert plan(tiny, 5_000_000, 0, 1.5, 80).maxmemory == 5_000_000


def test_the_host_is_the_limit_and_says_so() -> None:
    found = plan(replace(FULL, ceiling=1200 * MIB), 0, 0, 1.5, 80)
    assert found.maxmemory == 1200 * MIB
    assert "only a machine with more memory" in found.notes[0]
    full = plan(replace(FULL, ceiling=1024 * MIB), 0, 0, 1.5, 80)
    assert full.maxmemory is None and full.notes


def test_nothing_is_lowered_and_no_limit_stays_no_limit() -> None:
    assert plan(FULL, 512 * MIB, 100, 1.5, 80).maxmemory is None
    assert plan(FULL, 512 * MIB, 100, 1.5, 80).maxclients is None
    assert plan(replace(FULL, maxmemory=0), 512 * MIB, 0, 1.5, 80).maxmemory is None


def test_clients_need_files_and_the_kernel_has_the_last_word() -> None:
    found = plan(replace(FULL, connected=9000), 0, 0, 1.5, 80)
    assert (found.maxclients, found.files) == (15000, 15000 + 32 + 1024)
    small = plan(replace(FULL, connected=9000, files_ceiling=12000), 0, 0, 1.5, 80)
    assert small.maxclients == 12000 - 32 - 1024 and "fs.nr_open" in small.notes[0]


@pytest.mark.parametrize(("text", "number"), [("", 0), ("1000", 1000), ("2gb", 2 * 1024**3), ("5m", 5 * 10**6)])
def test_sizes_are_those_of_redis_conf(text: str, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["2 gb", "lots", "-1", "1tb", "mb"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(LifelineError, match="is no size"):
        size(text)


@given(st.builds(Room, *[st.integers(0, 2**40)] * 7), st.integers(0, 2**40), st.integers(0, 2**20))
def test_whatever_is_asked_the_host_is_not_exceeded(room: Room, maxmemory: int, maxclients: int) -> None:
    found = plan(room, maxmemory, maxclients, 1.5, 80)
    assert found.maxmemory is None or room.maxmemory < found.maxmemory <= room.ceiling
    assert found.maxclients is None or room.maxclients < found.maxclients < room.files_ceiling
