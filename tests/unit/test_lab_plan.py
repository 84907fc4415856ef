# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab decides before it touches the machine."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.errors import LifelineError
from lifeline.lab import plan
from lifeline.lab.plan import Container, Host

DEB822 = """
# A comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://security.example/debian-security
Suites:
 bookworm-security
Components: main
"""
ONE_LINE = """
# deb http://commented.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] https://mirror.example/debian/ trixie main contrib
deb http://security.example/debian-security trixie-security main
"""


def container(host: str, **changes: str) -> Container:
    made = Container(f"lifeline-lab-{host}", host, "lab", "/inventory", "run1", "bookworm", "", "running")
    return replace(made, **changes)


def test_hosts_that_are_as_wanted_are_left_alone() -> None:
    assert plan.plan([container("redis1"), container("redis2")], [Host("redis1"), Host("redis2")], "run1").empty


def test_missing_hosts_are_created_and_others_removed() -> None:
    found = plan.plan([container("redis1"), container("old")], [Host("redis1"), Host("redis2")], "run1")
    assert (found.remove, found.create, found.start) == (("old",), ("redis2",), ())


@pytest.mark.parametrize(
    "current",
    [container("redis1", run="other"), container("redis1", release="trixie"), container("redis1", memory="1g")],
    ids=["other keys", "other release", "other memory"],
)
def test_a_host_made_otherwise_is_made_again(current: Container) -> None:
    found = plan.plan([current], [Host("redis1")], "run1")
    assert (found.remove, found.create) == (("redis1",), ("redis1",))


@pytest.mark.parametrize(
    ("state", "starts"), [("exited", True), ("created", True), ("running", False), ("paused", False)]
)
def test_a_host_without_power_is_started_and_a_frozen_one_is_not(state: str, starts: bool) -> None:
    assert bool(plan.plan([container("redis1", state=state)], [Host("redis1")], "run1").start) == starts


def test_a_host_that_was_cut_off_is_connected_again() -> None:
    found = plan.plan([replace(container("redis1", state="exited"), connected=False)], [Host("redis1")], "run1")
    assert (found.connect, found.start, found.create) == (("redis1",), ("redis1",), ())
    assert plan.connect_argv("lab", "redis1", "10.213.0.11")[3:] == [
        *("--ip", "10.213.0.11", "--mac-address", "02:4c:0a:d5:00:0b", "--alias", "redis1"),
        *("lifeline-lab", "lifeline-lab-redis1"),
    ]


def test_containers_are_read_from_podman_and_those_of_others_passed_over() -> None:
    labels = {"lifeline.lab": "lab", "lifeline.lab.host": "redis1", "lifeline.lab.run": "r", "lifeline.lab.memory": ""}
    ours = {"Names": ["lifeline-lab-redis1"], "Labels": labels, "State": "Running", "Networks": ["lifeline-lab"]}
    listing = [ours, {"Names": ["web"], "Labels": None}]
    found = plan.containers_from(listing)
    assert [(each.name, each.host, each.state, each.connected) for each in found] == [
        ("lifeline-lab-redis1", "redis1", "running", True)
    ]


def test_the_subnet_is_the_first_that_clashes_with_nothing() -> None:
    taken = ["default", "10.213.0.0/16", "10.217.0.5", "fd00::/8", "0.0.0.0/0", "192.168.0.0/16"]
    assert plan.choose_subnet(taken) == "10.217.1.0/24"


@given(st.lists(st.sampled_from(plan.POOL), unique=True, max_size=700))
def test_the_subnet_never_overlaps_one_that_is_taken(taken: list[str]) -> None:
    chosen = ipaddress.ip_network(plan.choose_subnet(taken))
    assert not any(chosen.overlaps(ipaddress.ip_network(network)) for network in taken)


def test_no_free_subnet_is_one_clear_sentence() -> None:
    with pytest.raises(LifelineError, match="set lab_hosts_subnet"):
        plan.choose_subnet(["10.0.0.0/8"])


def test_hosts_keep_their_addresses_and_new_ones_get_the_lowest_free() -> None:
    kept = {"redis1": "10.213.0.11", "redis3": "10.213.0.13", "gone": "10.213.0.12"}
    addresses = plan.allocate("10.213.0.0/24", ["redis1", "redis2", "redis3", "app1"], kept)
    assert addresses == {
        "redis1": "10.213.0.11",
        "redis2": "10.213.0.12",
        "redis3": "10.213.0.13",
        "app1": "10.213.0.14",
    }


def test_addresses_of_another_subnet_are_not_kept() -> None:
    assert plan.allocate("10.213.1.0/24", ["a"], {"a": "10.213.0.11"}) == {"a": "10.213.1.11"}


@given(st.integers(1, 200), st.integers(0, 200))
def test_addresses_are_unique_and_usable(count: int, kept_count: int) -> None:
    names = [f"h{number}" for number in range(count)]
    kept = {name: f"10.213.0.{11 + index}" for index, name in enumerate(reversed(names)) if index < kept_count}
    addresses = plan.allocate("10.213.0.0/24", names, kept)
    assert len(set(addresses.values())) == count
    assert all(11 <= int(address.rsplit(".", 1)[1]) <= 254 for address in addresses.values())


def test_a_subnet_that_is_too_small_is_one_clear_sentence() -> None:
    with pytest.raises(LifelineError, match="larger lab_hosts_subnet"):
        plan.allocate("10.213.0.0/28", [f"h{number}" for number in range(5)], {})


def test_the_hardware_address_follows_from_the_address() -> None:
    assert plan.mac_address("10.213.0.11") == "02:4c:0a:d5:00:0b"


def test_the_mirror_is_found_in_both_formats() -> None:
    assert plan.mirror_from([DEB822]) == plan.Mirror(
        "http://mirror.example/debian", "http://security.example/debian-security"
    )
    assert plan.mirror_from([ONE_LINE]) == plan.Mirror(
        "https://mirror.example/debian/", "http://security.example/debian-security"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "deb http://archive.example/ubuntu noble main",
        "deb cdrom:[Debian 12]/ bookworm main",
        DEB822.replace("Types: deb deb-src", "Types: deb-src"),
        DEB822.replace("Types: deb deb-src", "Enabled: no\nTypes: deb"),
    ],
    ids=["none", "not Debian", "a disc", "sources only", "switched off"],
)
def test_a_machine_without_a_debian_mirror_is_told_what_to_set(text: str) -> None:
    with pytest.raises(LifelineError, match="lab_hosts_mirror"):
        plan.mirror_from([text])


@pytest.mark.parametrize(
    ("release", "suites", "security"),
    [("bookworm", "bookworm bookworm-updates", "s"), ("trixie", "trixie trixie-updates", "s"), ("sid", "sid", "")],
)
def test_a_release_comes_from_its_own_suites_of_the_mirror(release: str, suites: str, security: str) -> None:
    expected = {"MIRROR": "a", "SUITES": suites, "SECURITY": security}
    assert plan.image_sources(release, plan.Mirror("a", "s")) == expected
    assert release in plan.RELEASES


def test_a_machine_that_follows_sid_names_a_mirror_without_security() -> None:
    assert plan.mirror_from(["deb http://mirror.example/debian sid main"]) == plan.Mirror(
        "http://mirror.example/debian"
    )


def test_a_host_of_sid_is_wanted_by_its_release() -> None:
    wanted = plan.hosts_from([{"name": "redis1", "release": "sid"}])
    assert plan.plan([container("redis1", release="sid")], wanted, "run1").empty
    assert plan.plan([container("redis1", release="trixie")], wanted, "run1").create == ("redis1",)


def test_only_settings_that_reaching_the_mirror_needs_are_taken_over() -> None:
    dump = 'APT "";\nAcquire::Check-Valid-Until "false";\nDPkg::Tools "";\n'
    dump += 'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::https::Proxy "";\n'
    assert plan.apt_lines(dump).splitlines() == [
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http::Proxy "http://proxy.example:3128";',
    ]


def test_the_images_name_changes_with_the_recipe_and_with_what_it_is_given() -> None:
    tag = plan.image_tag("bookworm", "echo", {"PACKAGES": "a b"})
    assert tag.startswith("localhost/lifeline-lab:bookworm-")
    assert tag == plan.image_tag("bookworm", "echo", {"PACKAGES": "a b"})
    assert (
        len({tag, plan.image_tag("bookworm", "echo!", {"PACKAGES": "a b"}), plan.image_tag("bookworm", "echo", {})})
        == 3
    )


@pytest.mark.parametrize(
    ("files", "processes", "expected"),
    [
        (20000, 96364, ["nofile=20000:20000", "nproc=30000:30000"]),
        (-1, -1, ["nofile=1048576:1048576", "nproc=30000:30000"]),
    ],
)
def test_limits_are_never_more_than_the_machine_allows(files: int, processes: int, expected: list[str]) -> None:
    assert plan.ulimits(files, processes)[1::2] == expected


@pytest.mark.parametrize("name", ["", "Lab", "a b", "-a", "a-", "a" * 41, "a_b"])
def test_names_that_cannot_be_container_names_are_refused(name: str) -> None:
    with pytest.raises(LifelineError, match="lower-case"):
        plan.check_lab_name(name)


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ([{"name": "a"}, {"name": "a"}], "two hosts called 'a'"),
        ([{"name": "A!"}], "host called 'A!'"),
        ([{"name": "a", "release": "jessie"}], "'jessie' on a"),
    ],
)
def test_wrong_hosts_are_one_clear_sentence(hosts: list[dict[str, str]], message: str) -> None:
    with pytest.raises(LifelineError, match=message):
        plan.hosts_from(hosts)


def test_the_inventory_has_every_group_and_the_labs_variables() -> None:
    hosts = [Host("redis1", ("redis", "sentinel")), Host("app1", ("app",), variables={"redis_estate": "two"})]
    found = plan.inventory(hosts, {"redis1": "10.213.0.11", "app1": "10.213.0.12"}, {"ansible_user": "ops"})
    assert found["lab_hosts"]["vars"] == {"ansible_user": "ops"}
    assert found["lab_hosts"]["hosts"]["app1"] == {"ansible_host": "10.213.0.12", "redis_estate": "two"}
    assert {group: list(found[group]["hosts"]) for group in ("redis", "sentinel", "app")} == {
        "redis": ["redis1"],
        "sentinel": ["redis1"],
        "app": ["app1"],
    }


@pytest.mark.parametrize(("text", "value"), [("1\n", "1"), ("always [madvise] never\n", "madvise"), ("0\t5\n", "0\t5")])
def test_kernel_settings_are_read_with_their_choice(text: str, value: str) -> None:
    assert plan.setting_value(text) == value


def test_a_host_is_created_with_its_own_limits_and_labels() -> None:
    host = Host("redis1", memory="512m")
    argv = plan.create_argv("lab", host, "10.213.0.11", "image", "runc", ["--ulimit", "x"], "/inventory", "run1")
    text = " ".join(argv)
    assert argv[-2:] == ["image", "/usr/local/sbin/lab-init"]
    for part in ("--runtime runc", "--memory 512m --memory-swap 512m", "--label lifeline.lab=lab", "--ip 10.213.0.11"):
        assert part in text
