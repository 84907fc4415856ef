# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_firewall: who is let in, how the table is written, and what is refused."""

from __future__ import annotations

import pytest
from lifeline.act.firewall import ephemeral, networks, normal, render, resolve, services
from lifeline.errors import LifelineError

HOSTS = {
    "r1": {"ansible_host": "10.0.0.1"},
    "r2": {"ansible_host": "10.0.0.2", "redis_address": "fd00::2"},
    "s3": {"ansible_host": "10.0.0.3"},
    "web": {"ansible_host": "10.0.1.1"},
    # A second estate, one of whose servers shares a machine with r1.
    "b1": {"ansible_host": "10.0.0.1", "redis_estate": "other", "redis_port": 6380},
    "b2": {"ansible_host": "10.0.0.9", "redis_estate": "other", "redis_port": 6380},
    "web2": {"ansible_host": "10.0.1.2", "redis_estate": "other"},
}
SERVERS = ["r1", "r2", "b1", "b2"]
SENTINELS = ["r1", "r2", "s3"]


def of(host, hosts=HOSTS, servers=SERVERS, sentinels=SENTINELS, **own):
    return services(host, hosts, {**hosts[host], **own}, servers, sentinels, ["web", "web2"])


def test_a_server_with_a_sentinel():
    (service,) = of("r2")
    assert service == {
        "name": "redis_6379",
        "ports": [6379, 16379, 26379],
        "client_ports": [6379, 26379],
        "peers": ["10.0.0.1", "fd00::2", "10.0.0.3"],
        "clients": ["10.0.1.1"],
    }


def test_a_sentinel_alone_has_no_redis_port():
    (service,) = of("s3")
    assert (service["name"], service["ports"], service["client_ports"]) == ("sentinel_26379", [26379], [26379])


@pytest.mark.parametrize("host", ["r1", "b1"])
def test_all_instances_of_a_machine_each_with_its_own_estate(host):
    first, second = of(host)
    assert (first["name"], second["name"]) == ("redis_6379", "redis_6380")
    assert second["ports"] == [6380, 16380]
    assert (second["peers"], second["clients"]) == (["10.0.0.1", "10.0.0.9"], ["10.0.1.2"])
    assert "10.0.0.9" not in first["peers"]


def test_own_variables_win_over_the_inventorys():
    (service,) = of("r2", redis_port=7000, redis_firewall_sources=["192.0.2.0/24"])
    assert service["ports"] == [7000, 17000, 26379]
    assert "192.0.2.0/24" in service["peers"]


def test_an_instance_that_is_excluded():
    assert [one["name"] for one in of("r1", redis_firewall_state="absent")] == ["redis_6380"]
    assert of("r2", redis_firewall_state="absent") == []


def test_an_application_host_has_nothing_to_guard():
    assert of("web") == []


def test_two_names_for_one_port_are_refused():
    hosts = {**HOSTS, "b1": {"ansible_host": "10.0.0.1"}}
    with pytest.raises(
        LifelineError, match=r"b1 and another inventory host have the address 10\.0\.0\.1 and both port"
    ):
        of("r1", hosts=hosts)


def test_every_rule_that_drops_names_a_port_of_ours():
    text = render(of("r1"), {})
    chain = text[text.index("chain guard") :]
    drops = [line.split() for line in chain.splitlines() if "drop" in line]
    assert [line[:5] for line in drops] == [
        ["tcp", "dport", str(port), "counter", "drop"] for port in (6379, 6380, 16379, 16380, 26379)
    ]
    assert "policy accept" in chain
    assert text.count("drop") == len(drops)


def test_the_file_replaces_its_own_table_only():
    lines = [line for line in render(of("r1"), {}).splitlines() if not line.startswith(("\t", "#", "}"))]
    assert [line for line in lines if line] == [
        "table inet lifeline_redis",
        "delete table inet lifeline_redis",
        "table inet lifeline_redis {",
    ]


def test_networks_are_sorted_and_none_lies_in_another():
    found = networks(["10.0.0.9", "10.0.0.1", "10.0.0.0/29", "db", "::1", "10.0.0.1"], {"db": ["192.0.2.7", "fd00::7"]})
    assert [str(one) for one in found] == ["10.0.0.0/29", "10.0.0.9/32", "192.0.2.7/32", "::1/128", "fd00::7/128"]


@pytest.mark.parametrize("source", ["10.0.0.5/24", "10.0.0.256", "fe80::1/200", "db } accept", ""])
def test_what_is_no_network_is_refused(source):
    with pytest.raises(LifelineError, match="no address or network"):
        networks([source], {})


def test_names_are_resolved_and_addresses_left_alone():
    found = resolve(["10.0.0.1", "fd00::/64", "localhost"])
    assert set(found) == {"localhost"}
    assert set(found["localhost"]) & {"127.0.0.1", "::1"}


def test_an_unknown_name_is_refused():
    with pytest.raises(LifelineError, match=r"cannot resolve nowhere\.invalid"):
        resolve(["nowhere.invalid"])


def test_a_listing_has_one_element_a_line_whatever_order_nft_chose():
    one = "\tset s {\n\t\telements = { 10.0.0.2, 10.0.0.1,\n\t\t\t     10.1.0.0/16 }\n\t}\n"
    two = "\tset s {\n\t\telements = { 10.1.0.0/16, 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n"
    assert normal(one) == normal(two)
    assert "\t\t\t10.0.0.1,\n\t\t\t10.0.0.2,\n" in normal(one)


def test_ports_that_outgoing_connections_may_get_are_warned_of():
    assert ephemeral(of("r2"), (32768, 60999)) == []
    (warning,) = ephemeral(of("r2", redis_port=30000), (32768, 60999))
    assert "port 40000" in warning
