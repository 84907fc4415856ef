# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every mistake in an inventory gets one sentence that names the host, the variable and the next step."""

from __future__ import annotations

from typing import Any

import pytest
from lifeline.inventory import intent

SECRET = "hunter2 \"'#%\\"
GOOD: dict[str, Any] = {
    "redis_estate": "shop",
    "redis_group_servers": "redis",
    "redis_group_sentinels": "sentinel",
    "redis_group_applications": "app",
    "redis_flavour": "redis",
    "redis_initial_primary": "h1",
    "redis_address": "192.0.2.1",
    "redis_port": 6379,
    "redis_sentinel_port": 26379,
    "redis_quorum": 0,
    "redis_tls_enabled": True,
    "redis_tls_ca_src": "/tls/ca.crt",
    "redis_tls_cert_src": "/tls/h1.crt",
    "redis_tls_key_src": "/tls/h1.key",
    "redis_password_application": SECRET,
    "redis_password_replica": SECRET,
    "redis_password_sentinel": SECRET,
    "redis_password_observer": SECRET,
    "redis_password_operator": SECRET,
}


def said(**changes: Any) -> dict[str, dict[str, Any]]:
    """hostvars of estate shop (h1 to h3, a1), with ``h2={...}`` on top."""
    hosts: dict[str, dict[str, Any]] = {
        name: {"redis_estate": "shop", "redis_address": f"192.0.2.{number}"}
        for number, name in enumerate(("h1", "h2", "h3", "a1"), start=1)
    }
    for name, extra in changes.items():
        hosts.setdefault(name, {}).update(extra)
    return hosts


def groups(**changes: list[str]) -> dict[str, list[str]]:
    return {"redis": ["h1", "h2", "h3"], "sentinel": ["h1", "h2", "h3"], "app": ["a1"], **changes}


def problems(own: dict[str, Any], hosts: Any = None, group: Any = None, host: str = "h1") -> list[str]:
    return intent.estate_problems(host, {**GOOD, **own}, hosts or said(), group or groups(), exists=lambda path: True)


def test_nothing_is_said_against_a_good_inventory() -> None:
    assert problems({}) == []
    assert problems({"redis_address": "2001:db8::1"}, said(h1={"redis_address": "2001:db8::1"})) == []
    assert problems({"redis_quorum": "2"}) == [], "-e gives text"


@pytest.mark.parametrize(
    ("own", "host", "variable", "step"),
    [
        ({"redis_estate": "shop 1"}, "h1", "redis_estate", "make it of letters"),
        ({"redis_initial_primary": "h9"}, "h1", "redis_initial_primary", "use one of h1, h2, h3"),
        ({"redis_port": 70000}, "h1", "redis_port", "from 1 to 65535"),
        ({"redis_sentinel_port": "x"}, "h1", "redis_sentinel_port", "from 1 to 65535"),
        ({"redis_address": "h1.example.org"}, "h1", "redis_address", "set redis_address"),
        ({"redis_address": "127.0.0.1"}, "h1", "redis_address", "set redis_address"),
        ({"redis_address": "::"}, "h1", "redis_address", "set redis_address"),
        ({"redis_quorum": 4}, "h1", "redis_quorum", "from 1 to 3"),
        ({"redis_quorum": -1}, "h1", "redis_quorum", "0 for the majority"),
        ({"redis_password_operator": ""}, "h1", "redis_password_operator", "Ansible Vault"),
        ({"redis_password_replica": f"{SECRET}\n"}, "h1", "redis_password_replica", "choose another"),
        ({"redis_password_observer": 12345}, "h1", "redis_password_observer", "quotes"),
        ({"redis_password_sentinel": None}, "h1", "redis_password_sentinel", "vault file"),
        ({"redis_tls_ca_src": ""}, "h1", "redis_tls_ca_src", "switch TLS off"),
        ({"redis_tls_key_src": ""}, "h1", "redis_tls_key_src", "switch TLS off"),
    ],
)
def test_a_wrong_value(own: dict[str, Any], host: str, variable: str, step: str) -> None:
    found = [sentence for sentence in problems(own) if variable in sentence and step in sentence]
    assert len(found) == 1
    assert found[0].startswith(f"{host}: ")
    assert found[0].endswith(".")
    assert "hunter2" not in "".join(problems(own))


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, None), (1, "1 of the 3"), (2, "2 of the 3"), (3, None), (4, "even number"), (5, None), (6, "even number")],
)
def test_how_many_sentinels(count: int, words: str | None) -> None:
    hosts = said(
        **{f"s{number}": {"redis_estate": "shop", "redis_address": f"192.0.2.{number + 50}"} for number in range(9)}
    )
    found = problems({}, hosts, groups(sentinel=[f"s{number}" for number in range(count)]))
    assert [words in sentence for sentence in found] == ([True] if words else [])


def test_a_quorum_without_sentinels_is_refused() -> None:
    assert "leave it at 0" in problems({"redis_quorum": 2}, group=groups(sentinel=[]))[0]


def test_two_hosts_with_one_address() -> None:
    found = problems({}, said(h3={"redis_address": "192.0.2.2"}), groups(sentinel=[]))
    assert len(found) == 1
    assert "h2 (redis_port, estate shop) and h3 (redis_port, estate shop)" in found[0]


def test_two_estates_may_share_a_host_but_no_port() -> None:
    other = {"redis_estate": "mail", "redis_address": "192.0.2.1"}
    group = groups(redis=["h1", "h2", "h3", "m1"])
    assert "m1 (redis_port, estate mail)" in problems({}, said(m1=other), group)[0]
    assert problems({}, said(m1={**other, "redis_port": 6380}), group) == []


def test_another_estates_collision_is_none_of_ours() -> None:
    twins = {name: {"redis_estate": "mail", "redis_address": "192.0.2.77"} for name in ("m1", "m2")}
    assert problems({}, said(**twins), groups(redis=["h1", "h2", "h3", "m1", "m2"])) == []


def test_redis_and_sentinel_on_one_port() -> None:
    assert any("port 6379" in sentence for sentence in problems({"redis_sentinel_port": 6379}))


def test_hosts_of_an_estate_agree() -> None:
    found = problems({}, said(h2={"redis_port": 6380}))
    assert any("h2 has 6380 instead of 6379" in sentence for sentence in found)
    found = problems({}, said(h2={"redis_password_operator": "hunter3"}))
    assert "h2 has another value" in found[0]
    assert "hunter" not in found[0]


def test_an_undefined_variable_of_one_host_stops_its_whole_estate() -> None:
    found = problems({}, said(h2={"redis_password_operator": None}))
    assert found[0].startswith("h2: redis_password_operator refers to a variable that is not defined")


def test_a_peer_known_by_name_only() -> None:
    found = problems({}, said(h2={"redis_address": "", "ansible_host": "h2.example.org"}))
    assert found[0].startswith("h2: redis_address is h2.example.org")


def test_an_estate_without_servers() -> None:
    hosts = said(a2={"redis_estate": "shopp", "redis_address": "192.0.2.9"})
    found = problems({"redis_estate": "shopp"}, hosts, groups(app=["a1", "a2"]), host="a2")
    assert any("has no host in the inventory group redis" in sentence and "shop" in sentence for sentence in found)
    found = problems({}, group=groups(redis=[], sentinel=[]))
    assert any("put its Redis hosts there" in sentence for sentence in found)


def test_passwords_that_nobody_uses_may_be_missing() -> None:
    alone = groups(redis=["h1"], sentinel=[], app=[])
    assert problems({"redis_password_replica": "", "redis_password_sentinel": ""}, group=alone) == []


def test_tls_files() -> None:
    own = {**GOOD, "redis_tls_cert_src": "", "redis_tls_key_src": ""}
    assert intent.estate_problems("a1", own, said(), groups(), exists=lambda path: True) == [], (
        "clients need the CA only"
    )
    found = intent.estate_problems("h1", GOOD, said(), groups(), exists=lambda path: path != "/tls/h1.key")
    assert found == ["h1: redis_tls_key_src is /tls/h1.key, and the control node has no such file; correct the path."]
    assert intent.estate_problems("h1", {**own, "redis_tls_enabled": False}, said(), groups()) == []


def test_unknown_variables() -> None:
    known = {"redis_tls_enabled", "redis_port", "rq_services_units"}
    found = intent.unknown_variables("h1", ["redis_port", "redis_tls_enable", "rq_zzz"], known)
    assert [sentence.split(";")[0] for sentence in found] == [
        "h1: no role knows the variable redis_tls_enable",
        "h1: no role knows the variable rq_zzz",
    ]
    assert "did you mean redis_tls_enabled?" in found[0]
    assert "did you mean" not in found[1]


def test_foreign_variables_are_left_alone() -> None:
    defined = ["redis_exporter_port", "redis_exporter_user", "redis_insight", "redis_prot"]
    found = intent.unknown_variables("h1", defined, {"redis_port"}, ["redis_exporter_*", "redis_insight"])
    assert [sentence.split()[6].rstrip(";") for sentence in found] == ["redis_prot"]


@pytest.mark.parametrize(
    ("written", "refused"),
    [
        ("x{{ neighbour }}y", "{{"),
        ("p4ss{# comment #}word", "{#"),
        ("un{{ 'finished", "{{"),
        ("{% raw %}", "{%"),
        ("{{ a }}{# b #}", "{{"),
        ("{{ vault_password }}", ""),
        (" {{ vault_a }}{{ vault_b | trim }}\n", ""),
        ("plain {x} %} #} }}", ""),
    ],
)
def test_B14_a_password_that_holds_a_template_is_refused(written: str, refused: str) -> None:
    """Before: `{{` or `{#` in a password changed it silently, or printed the lines around it.

    Now: the sentence names the variable and what to do, and shows neither the password nor its neighbours.
    """
    said = intent.taken_for_templates("h1", {"redis_password_replica": written})
    assert len(said) == bool(refused)
    for sentence in said:
        assert sentence.startswith(f"h1: redis_password_replica holds {refused}, ") and "!unsafe" in sentence
        assert written not in sentence


@pytest.mark.parametrize(
    ("version", "refused"),
    [("2.9.27", True), ("2.16.14", True), ("2.18.99", True), ("2.19.0b1", False), ("2.21.3", False), ("3.0.0", False)],
)
def test_B14_an_old_ansible_core_is_refused(version: str, refused: bool) -> None:
    """Before: an ansible-core older than 2.19 began and failed somewhere, with an error of its own.

    Now: the first task of every playbook refuses it in one sentence.
    """
    said = intent.too_old(version)
    assert bool(said) == refused
    assert not said or (version in said[0] and "2.19 or later" in said[0])
