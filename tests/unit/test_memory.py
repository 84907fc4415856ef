# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much of a host Redis may fill."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.common import memory
from lifeline.errors import LifelineError
from lifeline.observe import packages

GIB = 1024**3


def host(tmp_path: Path, total_kb: int, **limits: str) -> str:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal:  {total_kb} kB\nMemFree: 1 kB\n")
    for name, text in limits.items():
        path = tmp_path / ("sys/fs/cgroup/memory.max" if name == "v2" else "sys/fs/cgroup/memory/memory.limit_in_bytes")
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return str(tmp_path)


def test_total_without_limits(tmp_path: Path) -> None:
    assert memory.available(host(tmp_path, 1024**2)) == GIB


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"v2": "max\n"}, GIB),
        ({"v2": "536870912\n"}, GIB // 2),
        ({"v1": "9223372036854771712\n"}, GIB),
        ({"v1": "268435456\n"}, GIB // 4),
    ],
)
def test_a_containers_limit_counts(tmp_path: Path, limits: dict[str, str], expected: int) -> None:
    assert memory.available(host(tmp_path, 1024**2, **limits)) == expected


@given(st.integers(GIB, 1024 * GIB), st.integers(10, 100), st.integers(0, 100))
def test_data_and_its_copies_fit(total: int, share: int, fork: int) -> None:
    try:
        data = memory.maxmemory(total, share, fork)
    except LifelineError:
        return
    assert data * (100 + fork) // 100 <= total * share // 100 * 0.9 + 1
    assert data % (16 * memory.MIB) == 0


def test_a_few_pages_make_no_difference() -> None:
    assert memory.maxmemory(4 * GIB) == memory.maxmemory(4 * GIB + 64 * 1024)


def test_too_small_a_host_is_one_sentence() -> None:
    with pytest.raises(LifelineError, match="128 MiB of memory, too little"):
        memory.maxmemory(128 * memory.MIB)


def test_a_role_is_told_instead() -> None:
    assert memory.sizing(4 * GIB) == {"maxmemory": memory.maxmemory(4 * GIB), "objection": ""}
    told = memory.sizing(128 * memory.MIB)
    assert told["maxmemory"] == 0
    assert "too little" in told["objection"]


def test_missing_packages() -> None:
    listing = "redis-server:installed\nlogrotate:not-installed\npython3-redis:config-files\n"
    names = ["redis-server", "logrotate", "python3-redis", "unheard-of"]
    assert packages.missing_packages(names, listing) == names[1:]


def test_the_digest_that_a_package_shipped() -> None:
    field = "\n /etc/redis/redis.conf 0123\n /etc/redis/sentinel.conf 4567 obsolete\n"
    assert packages.shipped_digest(field, "/etc/redis/sentinel.conf") == "4567"
    assert packages.shipped_digest(field, "/etc/redis/other.conf") is None
