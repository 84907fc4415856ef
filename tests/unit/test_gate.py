# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When applications do worse than before, in which batches hosts come, and what hosts say against a switch."""

from __future__ import annotations

from typing import Any

import pytest
from estates import Estate
from hypothesis import given
from hypothesis import strategies as st
from lifeline.common.url import repointed
from lifeline.plan.switchover import batches, switch_plan
from lifeline.verify.gate import compare, percentile

LIMITS = {"most_error_percent": 1.0, "most_latency_factor": 3.0, "least_latency_ms": 100.0, "most_queue_age": 60.0}
WELL = {"tries": 100, "errors": 0, "p95_ms": 50.0, "complaints": [], "queue_age": 2.0, "workers": 2}


def worse(before: Any = None, **seen: Any) -> list[str]:
    return compare({**WELL, **seen}, WELL if before is None else before, LIMITS)


def test_as_well_as_before_is_well() -> None:
    assert worse() == []
    assert worse(errors=1, p95_ms=149.9, queue_age=61.0, workers=5) == []
    assert worse({}, p95_ms=5000.0, workers=0) == [], "nothing to compare with"


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        ({"errors": 2, "complaints": ["a write failed: timeout"]}, "2 of 100 tries failed (a write failed: timeout)"),
        ({"p95_ms": 151.0}, "95 % of tries took up to 151.0 ms, before it was 50.0 ms"),
        ({"queue_age": 63.0}, "the oldest job has waited for 63 s, more than 62 s"),
        ({"workers": 1}, "1 workers are alive, before it was 2"),
    ],
)
def test_each_thing_that_is_worse_is_said(seen: dict[str, Any], sentence: str) -> None:
    assert worse(**seen) == [sentence]


def test_what_nobody_could_see_is_no_complaint() -> None:
    assert worse(p95_ms=None, queue_age=None, workers=None) == []


def test_percentiles() -> None:
    assert percentile([], 95) is None
    assert percentile([3.0], 95) == 3.0
    assert percentile(list(range(1, 101)), 95) == 95


@pytest.mark.parametrize(
    ("count", "sizes", "found"),
    [
        (0, [1], []),
        (1, [1, "25%", "100%"], [1]),
        (8, [1, "25%", "100%"], [1, 1, 6]),
        (10, ["50%"], [5, 5]),
        (3, [], [3]),
        (3, [1, 1, 1], [1, 2]),
    ],
)
def test_batches_grow(count: int, sizes: list[Any], found: list[int]) -> None:
    hosts = [f"app{number}" for number in range(count)]
    assert [len(batch) for batch in batches(hosts, sizes)] == found


@given(st.integers(0, 50), st.lists(st.one_of(st.integers(0, 60), st.integers(0, 120).map("{}%".format)), max_size=5))
def test_every_host_is_in_one_batch(count: int, sizes: list[Any]) -> None:
    hosts = [f"app{number}" for number in range(count)]
    found = batches(hosts, sizes)
    assert [host for batch in found for host in batch] == hosts
    assert all(found)


def plan(estate: Estate, wanted: str = "") -> dict[str, Any]:
    return switch_plan(list(estate.evidence.values()), estate.nodes, estate.sentinels, estate.service, wanted)


def test_a_target_is_found_or_checked() -> None:
    assert plan(Estate()) == {"old": "redis1", "target": "redis2", "refusals": []}
    assert plan(Estate(), "redis3")["target"] == "redis3"
    assert plan(Estate(), "redis1") == {"old": "redis1", "target": "redis1", "refusals": []}
    assert plan(Estate(), "elsewhere")["refusals"] == ["elsewhere is no server of this estate"]
    assert plan(Estate(nodes=1))["refusals"] == ["no replica is fit to be primary"]


def test_hosts_may_forbid_it() -> None:
    estate = Estate()
    estate.evidence["redis2"]["files"]["free_bytes"] = 10
    for evidence in estate.evidence.values():
        evidence["nodes"]["redis2"]["used_memory"] = 11
    assert "10 bytes of disk free" in plan(estate, "redis2")["refusals"][0]
    estate = Estate().kill("redis3")
    estate.evidence["redis3"]["units"]["redis-server@main.service"].update(active="inactive", result="success")
    assert plan(estate, "redis2")["refusals"] == ["redis3 was stopped by hand (R8)"]
    estate = Estate()
    del estate.evidence["redis2"]
    assert plan(estate, "redis2")["refusals"] == ["redis2: its host did not answer (R7)"]


@pytest.mark.parametrize(
    ("line", "after", "before"),
    [
        ("REDIS_URL=redis://old:6379/0\n", "REDIS_URL=redis://192.0.2.9:6380/0\n", "old:6379"),
        (
            'REDIS_URL="rediss://app:p%40ss@[2001:db8::1]:6379/1?ssl_ca_certs=/ca"\n',
            'REDIS_URL="rediss://app:p%40ss@192.0.2.9:6380/1?ssl_ca_certs=/ca"\n',
            "[2001:db8::1]:6379",
        ),
        ("#REDIS_URL=redis://old:6379/0\n", "#REDIS_URL=redis://old:6379/0\n", None),
        ("OTHER=redis://old:6379/0\n", "OTHER=redis://old:6379/0\n", None),
        ("REDIS_URL=unix:///run/redis.sock\n", "REDIS_URL=unix:///run/redis.sock\n", None),
    ],
)
def test_only_the_address_of_a_url_changes(line: str, after: str, before: str) -> None:
    text = f"# first\n{line}LAST=1"
    assert repointed(text, "REDIS_URL", "192.0.2.9", 6380) == (f"# first\n{after}LAST=1", before)
