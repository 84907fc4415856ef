# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Alive, dead, empty or unknown: the judge's table, and what each step makes of it."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from estates import NONE, OLD, UNIT, Estate
from lifeline.common.client import ResponseError, reason
from lifeline.diagnose.liveness import Liveness, Signs, Traces, Verdict, is_answer, judge, traces, void
from lifeline.diagnose.topology import AGREED, BLIND, DISPUTED, EMPTY, FOREIGN, MAX_OFFSET, NO_PRIMARY
from lifeline.plan import candidates
from lifeline.plan.primary import good_replicas
from lifeline.plan.recovery import make_plan
from lifeline.plan.steps import Accepted

ALIVE, DEAD, UNKNOWN = Liveness.ALIVE, Liveness.DEAD, Liveness.UNKNOWN
STRANGER = "198.51.100.9"
AUTH = "auth: WRONGPASS invalid username-password pair or user is disabled."
DENIED = "denied: DENIED Redis is running in protected mode because protected mode is enabled"
ANYBODY = frozenset({"redis1", "redis2", "redis3"})

FREE = Traces(looked=True, port="free")
VOID = Traces(looked=True, port="free", void=True)
HELD = Traces(looked=True, port="held", holder="redis-server (process 9, redis-server.service)")

TABLE: list[tuple[str, Signs, Liveness]] = [
    ("nothing is known", Signs(), UNKNOWN),
    ("a proper answer", Signs(answered={"a": ""}), ALIVE),
    ("a refused login", Signs(answered={"a": AUTH}), ALIVE),
    ("an answer to one, silence for the rest", Signs(answered={"a": ""}, silent=("b", "c")), ALIVE),
    ("silence for all, and its host is silent", Signs(silent=("a", "b", "c")), UNKNOWN),
    ("its host looked, and did not say who holds the port", Signs(silent=("a",), traces=Traces(looked=True)), UNKNOWN),
    ("its port is free", Signs(silent=("a",), traces=FREE), DEAD),
    ("its port is free, and a process is left", Signs(traces=Traces(True, "free", "", True)), UNKNOWN),
    ("a free port of a host that did not look", Signs(traces=Traces(False, "free")), UNKNOWN),
    ("a hung process holds the port", Signs(silent=("a", "b"), traces=HELD), UNKNOWN),
    ("nothing at all on its host", Signs(silent=("a",), traces=VOID), Liveness.EMPTY),
    ("nothing on its host, yet it answers", Signs(answered={"a": ""}, traces=VOID), ALIVE),
    ("a replica hears it", Signs(silent=("a", "b"), heard=("b",)), ALIVE),
    ("no replica hears it", Signs(silent=("a", "b"), deaf=("b",)), UNKNOWN),
    ("the sentinels have just heard it", Signs(silent=("a",), accepted=True), ALIVE),
    ("the sentinels have just heard what is dead now", Signs(silent=("a",), accepted=True, traces=FREE), DEAD),
    ("one of three lies that it answers", Signs(answered={"c": ""}, silent=("a", "b"), traces=FREE), DEAD),
    ("one of two says that it answers", Signs(answered={"b": ""}, silent=("a",), traces=FREE), ALIVE),
    ("its own host lies that it is dead", Signs(answered={"b": "", "c": ""}, silent=("a",), traces=FREE), ALIVE),
    ("one of two replicas lies that it hears", Signs(silent=("a", "c"), heard=("b",), deaf=("c",), traces=FREE), DEAD),
    ("both replicas hear what its host calls dead", Signs(silent=("a",), heard=("b", "c"), traces=FREE), ALIVE),
    ("one hears it, and one host misses it", Signs(silent=("a",), heard=("b",), traces=FREE), ALIVE),
    ("no proof, so that one liar suffices to stay", Signs(answered={"c": ""}, silent=("a", "b"), traces=HELD), ALIVE),
]  # fmt: skip


@pytest.mark.parametrize(("signs", "wanted"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_judge(signs: Signs, wanted: Liveness) -> None:
    verdict = judge(signs)
    assert verdict.liveness is wanted
    assert verdict.why and verdict.liveness.gone is (wanted in (DEAD, Liveness.EMPTY))


def test_what_answers_itself_is_told_from_hearsay() -> None:
    assert judge(Signs(answered={"a": AUTH})) == Verdict(ALIVE, f"it answers a ({AUTH})", True)
    assert not judge(Signs(heard=("b",))).answered
    assert not judge(Signs(accepted=True)).answered


@pytest.mark.parametrize(
    ("error", "answers"),
    [
        (AUTH, True),
        ("noperm: NOPERM this user has no permissions to run the 'info' command", True),
        ("loading: LOADING Redis is loading the dataset in memory", True),
        ("maxclients: max number of clients reached", True),
        ("busy: BUSY Redis is busy running a script", True),
        ("misconf: MISCONF Redis is configured to save RDB snapshots", True),
        ("masterdown: MASTERDOWN Link with MASTER is down", True),
        (DENIED, True),
        ("dropped: Connection closed by server.", True),
        ("tls: [SSL: WRONG_VERSION_NUMBER] wrong version number", True),
        ("error: CLUSTERDOWN The cluster is down", True),
        ("error: ERR unknown command 'INFO'", True),
        ("refused: Error 111 connecting to 192.0.2.1:6379. Connection refused.", False),
        ("timeout: timed out", False),
        ("unreachable: No route to host", False),
        ("dns: Name or service not known", False),
        ("error: [Errno 2] No such file or directory", False),
        ("error: something of our own", False),
        ("", False),
        (None, False),
    ],
)
def test_every_answer_is_told_from_silence(error: Optional[str], answers: bool) -> None:
    assert is_answer(error) is answers


def host(state: str = "free", number: int = 6379, **holdings: Any) -> dict[str, Any]:
    """A host's own evidence of its port and of what it holds."""
    found = {"complete": True, "servers": [], "data": [], **holdings}
    return {"port": {"number": number, "state": state, "pid": 9, "name": "nc", "unit": ""}, "holdings": found}


OURS = {"name": UNIT, "load": "loaded", "active": "failed", "pid": 0}
GONE = {**OURS, "load": "not-found", "active": "inactive"}
OTHER = {"pid": 9, "name": "redis-server", "unit": "other.service", "port": 6390, "config": "/opt/other.conf"}
CONFIG = "/etc/redis/redis-main.conf"


@pytest.mark.parametrize(
    ("own", "unit", "proof"),
    [
        (host(), OURS, True),
        (None, OURS, False),
        ({}, OURS, False),
        ({"port": {"number": 6379, "state": "free"}}, OURS, False),
        (host("held"), OURS, False),
        (host("unknown"), OURS, False),
        (host(number=6380), OURS, False),
        (host(), {**OURS, "pid": 7}, False),
        (host(servers=[OTHER]), OURS, True),
        (host(servers=[OTHER]), GONE, False),
        (host(servers=[OTHER]), {}, False),
        (host(servers=[{**OTHER, "port": 6379}]), OURS, False),
        (host(servers=[{**OTHER, "unit": UNIT}]), OURS, False),
        (host(servers=[{**OTHER, "config": CONFIG}]), OURS, False),
        (host(servers=[{**OTHER, "unit": "", "config": ""}]), OURS, False),
        (host(), GONE, True),
        (host(complete=False), OURS, True),
    ],
)
def test_death_is_proven_by_the_port_and_the_processes_of_its_own_host(own: Any, unit: Any, proof: bool) -> None:
    assert traces(own, 6379, unit, CONFIG).proof is proof


@pytest.mark.parametrize(
    ("own", "empty"),
    [
        (host(), True),
        (None, False),
        ({}, False),
        (host(complete=False), False),
        (host("held"), False),
        (host(servers=[OTHER]), False),
        (host(data=[{"path": "/var/lib/redis/dump.rdb", "size": 88}]), False),
        (host(data=[{"path": "/var/lib/redis/dump.rdb", "size": 88, "empty": True}]), True),
    ],
)
def test_a_host_is_empty_only_after_a_whole_look(own: Any, empty: bool) -> None:
    assert void(own) is empty
    assert traces(own, 6379, OURS, CONFIG).void is empty


# --- A1 -------------------------------------------------------------------------------------------------------------


def shut_out(sentinels: bool, error: str = AUTH, nodes: int = 2) -> Estate:
    """A1: redis1 serves, refuses our login, and runs as another unit than the one expected; redis2 hears it."""
    estate = Estate(sentinels=sentinels, nodes=nodes).refuse("redis1", error)
    estate.evidence["redis1"]["units"][UNIT].update(load="not-found", active="inactive", sub="dead", pid=0)
    estate.evidence["redis1"]["port"]["unit"] = "redis-server.service"
    return estate


@pytest.mark.parametrize("sentinels", [False, True])
def test_A1_a_refused_login_is_alive(sentinels: bool) -> None:
    """Before: a primary that refuses Lifeline's login, and whose unit has another name, was called dead and replaced.

    Now: whoever answers anything is alive, and nothing is promoted beside it, with or without Sentinel.
    """
    built = shut_out(sentinels).build()
    plan = make_plan(built)
    assert (built.state, built.nodes["redis1"].liveness) == (BLIND, ALIVE)
    assert (plan.verdict, plan.actions) == ("refused", [])
    assert "the login is refused by redis1" in str(plan.refusal) and "is dead" not in str(plan.refusal)


@pytest.mark.parametrize("sentinels", [False, True])
@pytest.mark.parametrize("error", ["loading: LOADING", "maxclients: reached", "noperm: NOPERM", "tls: wrong", DENIED,
                                   "dropped: closed by server", "error: ERR unknown command"])  # fmt: skip
def test_A1_whatever_it_answers_it_is_alive(error: str, sentinels: bool) -> None:
    plan = make_plan(shut_out(sentinels, error, 3).build(), accepted=Accepted(ANYBODY, -1))
    assert (plan.verdict, plan.actions) == ("refused", []), "not even a person's word promotes beside it"


def test_A1_a_unit_that_is_not_there_proves_nothing() -> None:
    node = shut_out(False).build().nodes["redis1"]
    assert not (node.unit_down or node.stopped_on_purpose or node.dead)
    silent = Estate(sentinels=False).refuse("redis1", "timeout: timed out")
    silent.evidence["redis1"]["units"][UNIT].update(load="masked", active="inactive", result="success", pid=0)
    built = silent.build()
    assert not built.nodes["redis1"].dead, "something holds its port"
    assert make_plan(built).actions == []


def test_A1_a_primary_that_replicas_hear_is_alive() -> None:
    estate = Estate(sentinels=False).refuse("redis1", "timeout: timed out")
    plan = make_plan(estate.build(), accepted=Accepted(ANYBODY, -1))
    assert (plan.verdict, plan.actions) == ("refused", [])
    assert "redis2 and redis3 still hear from it" in str(plan.refusal)
    for name in ("redis2", "redis3"):
        link = estate.evidence["redis2"]["nodes"][name]["primary"]
        estate.say(name, primary={**link, "last_io_s": 12})
    assert not estate.build().nodes["redis1"].lives, "a power cut leaves links that count as up"


def test_A1_hearsay_is_left_to_the_sentinels_and_never_confirmed() -> None:
    (action,) = make_plan(Estate().refuse("redis1", "timeout: timed out").build()).actions
    assert (action.args["mode"], action.args["confirmed_dead"]) == ("sentinel", False)


def test_A1_one_that_answers_busy_is_left_to_the_sentinels_too() -> None:
    busy = "busy: BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
    (action,) = make_plan(Estate().refuse("redis1", busy).build()).actions
    assert (action.args["mode"], action.args["confirmed_dead"]) == ("sentinel", False)
    assert candidates.living(Estate().refuse("redis1", busy).build()), "nobody is asked to fail over beside it"
    assert make_plan(Estate(sentinels=False).refuse("redis1", busy).build()).actions == []


def test_A1_what_replicas_heard_before_the_sentinels_missed_it_is_no_life() -> None:
    estate = Estate().refuse("redis1", "timeout: timed out")
    for name in ("redis2", "redis3"):
        link = estate.evidence["redis2"]["nodes"][name]["primary"]
        estate.say(name, primary={**link, "last_io_s": 6})
    assert estate.build().nodes["redis1"].lives
    for name in estate.names:
        estate.watch(name, down=True, down_ms=1000, last_ok_ms=6000)
    built = estate.build()
    assert built.missed_ms("redis1") == 6000
    assert not built.nodes["redis1"].lives


def test_A1_the_unplanned_refusals_do_not_believe_the_caller() -> None:
    heard = Estate(sentinels=False).refuse("redis1", "timeout: timed out").build()
    assert candidates.living(heard) == ["redis1 is alive: redis2 and redis3 still hear from it (R7)"]
    answers = Estate(sentinels=False).refuse("redis2", AUTH).kill("redis1").build()
    assert "redis2 is alive and does not say whether it is the primary" in candidates.living(answers)[0]
    assert candidates.living(Estate().kill("redis1").build()) == []
    odd = Estate(sentinels=False).say("redis1", role="boss").build()
    assert "redis1 is alive" in candidates.living(odd)[0], "a role that no server has is none"
    lost = Estate(sentinels=False).lose("redis1").build()
    assert "nothing proves that redis1 is dead" in candidates.unproven(lost, False, ())[0]
    assert candidates.unproven(lost, True, ()) == candidates.unproven(lost, False, ("redis1",)) == []


# --- A2 -------------------------------------------------------------------------------------------------------------


def astray(sentinels: bool = False, nodes: int = 2, link_up: bool = True) -> Estate:
    """A2: all servers follow one that the inventory does not have."""
    estate = Estate(sentinels=sentinels, nodes=nodes)
    link = {"host": STRANGER, "port": 6379, "link_up": link_up, "link_down_s": 0, "last_io_s": 0 if link_up else -1}
    for name in estate.names:
        estate.say(name, role="slave", primary={**link, "syncing": False})
    return estate


@pytest.mark.parametrize("sentinels", [False, True])
def test_A2_a_primary_outside_the_inventory_is_alive(sentinels: bool) -> None:
    """Before: with its primary missing from the inventory an estate was failed over, which left two primaries.

    Now: nothing is promoted; the refusal names the address, what to add to the inventory, and that it may be an
    intruder.
    """
    built = astray(sentinels).build()
    plan = make_plan(built, accepted=Accepted(ANYBODY, -1))
    assert (built.state, built.foreign) == (FOREIGN, [f"{STRANGER}:6379"])
    assert (plan.verdict, plan.actions) == ("refused", [])
    for words in ("redis1 and redis2 follow 198.51.100.9:6379", "not in the inventory", "add it", "intruder"):
        assert words in str(plan.refusal)


def test_A2_it_is_a_finding_of_its_own_that_the_plan_does_not_contradict() -> None:
    diagnosis = astray(nodes=3).diagnose()
    (finding,) = diagnosis["findings"]
    assert (finding["id"], finding["severity"]) == ("primary_foreign", "critical")
    assert any(f"redis1 follows {STRANGER}:6379" in line for line in finding["evidence"])
    assert diagnosis["plan"]["actions"] == []


def test_A2_one_that_does_not_answer_is_unknown_and_takes_a_persons_word() -> None:
    built = astray(link_up=False).build()
    plan = make_plan(built)
    assert (built.state, built.last_primary, plan.verdict, plan.actions) == (NO_PRIMARY, None, "refused", [])
    assert f"recover_accept_data_loss={STRANGER}:6379" in str(plan.refusal)
    (action,) = make_plan(built, accepted=Accepted(frozenset({f"{STRANGER}:6379"}), -1)).actions
    assert action.remedy == "failover"
    refused = candidates.unplanned_refusals(built, built.nodes["redis1"], 0, False, (), True)
    assert any(STRANGER in text for text in refused)


def test_A2_a_claim_beside_a_live_stranger_is_a_dispute() -> None:
    estate = astray(nodes=3).say("redis1", role="master", primary=None)
    built = estate.build()
    plan = make_plan(built)
    assert (built.state, plan.verdict, plan.actions) == (DISPUTED, "refused", [])
    assert STRANGER in str(plan.refusal)
    with_word = astray(sentinels=True, nodes=3).say("redis1", role="master", primary=None).build()
    assert (with_word.state, with_word.primary) == (AGREED, "redis1"), "the sentinels' majority decides"


def test_A2_sentinels_that_accept_a_stranger_have_a_primary() -> None:
    estate = Estate().kill("redis1")
    for name in estate.names:
        estate.watch(name, primary={"host": STRANGER, "port": 6379}, last_ok_ms=300)
    assert (estate.build().state, make_plan(estate.build()).actions) == (FOREIGN, [])
    claimed = Estate()
    for name in claimed.names:
        claimed.watch(name, primary={"host": STRANGER, "port": 6379})
    assert claimed.build().state == DISPUTED


def test_A2_a_dead_server_that_is_set_to_follow_a_stranger_is_not_started_as_the_primary() -> None:
    estate = Estate(sentinels=False)
    for name in estate.names:
        estate.kill(name).evidence[name]["files"]["replicaof"] = [STRANGER, "6379"]
    plan = make_plan(estate.build())
    assert (plan.verdict, plan.actions) == ("refused", [])
    assert f"{STRANGER}:6379, which is not in the inventory" in str(plan.refusal)
    word = Accepted(frozenset({f"{STRANGER}:6379"}), -1)
    assert [step.remedy for step in make_plan(estate.build(), accepted=word).actions] == ["start_primary"]


# --- A5 -------------------------------------------------------------------------------------------------------------


def not_ours() -> Estate:
    """A5: servers that Lifeline did not make, all killed; their data is where the distribution puts it."""
    estate = Estate(sentinels=False)
    for name in estate.names:
        own = estate.kill(name).evidence[name]
        own["units"][UNIT].update(load="not-found", active="inactive", result="success")
        own["files"] = {}
        own["holdings"]["data"] = [{"path": "/var/lib/redis/dump.rdb", "kind": "rdb", "size": 4096, "age_s": 9}]
    return estate


def test_A5_data_of_servers_that_lifeline_did_not_make_is_no_empty_estate() -> None:
    """Before: with every server of a foreign estate dead, the plan said "no data" and told to run provision.yml.

    Now: empty takes a whole look at every host; else the data that was found is named, and provision.yml is not.
    """
    built = not_ours().build()
    plan = make_plan(built)
    assert (built.state, plan.verdict, plan.actions) == (NO_PRIMARY, "refused", [])
    assert "/var/lib/redis/dump.rdb (4096 bytes)" in str(plan.refusal)
    assert "provision" not in str(plan.as_dict())


def change_nothing(_estate: Estate) -> None:
    """A whole look that found nothing."""


def hide(estate: Estate) -> None:
    estate.evidence["redis2"].pop("holdings")


def incomplete(estate: Estate) -> None:
    estate.evidence["redis2"]["holdings"]["complete"] = False


def other_server(estate: Estate) -> None:
    estate.evidence["redis2"]["holdings"]["servers"] = [OTHER]


def held(estate: Estate) -> None:
    estate.evidence["redis2"]["port"]["state"] = "held"


def answering(estate: Estate) -> None:
    estate.refuse("redis2", AUTH)


def silent(estate: Estate) -> None:
    estate.lose("redis2")


def filed(estate: Estate) -> None:
    estate.evidence["redis2"]["files"] = {"rdb": {"size": 5}}


def stored(estate: Estate) -> None:
    estate.evidence["redis2"]["holdings"]["data"] = [{"path": "/data/dump.rdb", "size": 5}]


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize(
    ("change", "empty"),
    [(change_nothing, True)]
    + [(change, False) for change in (hide, incomplete, other_server, held, answering, silent, stored, filed)],
)
def test_A5_empty_takes_a_whole_look_at_every_host(change: Any, empty: bool, library: bool) -> None:
    estate = Estate(sentinels=False).fresh(True)
    change(estate)
    for evidence in estate.evidence.values():
        evidence["library"] = library
    built = estate.build()
    assert (built.state == EMPTY) is empty
    assert ("provision.yml" in str(make_plan(built).refusal)) is empty


# --- A18 ------------------------------------------------------------------------------------------------------------


def denied(error: str = DENIED) -> Estate:
    """L5: user default without a password, under protected mode; the sentinels' connections are older and stay."""
    return Estate().refuse("redis1", error)


def test_A18_refused_denied_and_dropped_are_three_things() -> None:
    """Before: a server under protected mode was "dead", and one bound to loopback was "cut off by a firewall".

    Now: each is named for what it is, from the server's own words and its host's sockets, and nothing is failed over.
    """
    text = "DENIED Redis is running in protected mode because protected mode is enabled and no password is set"
    assert reason(ResponseError(text)).startswith("denied: ")
    assert reason(ConnectionRefusedError(111, "Connection refused")).startswith("refused: ")
    assert reason(ConnectionResetError(104, "Connection reset by peer")).startswith("dropped: ")


def test_A18_protected_mode_is_named_and_nothing_is_failed_over() -> None:
    diagnosis = denied().diagnose()
    assert [(found["id"], found["where"]) for found in diagnosis["findings"]] == [("protected_mode", "redis1")]
    assert diagnosis["plan"]["actions"] == [] and diagnosis["plan"]["verdict"] == "refused"


def loopback(name: str = "redis1") -> Estate:
    """L4: bind 127.0.0.1. Its own host reaches it over the socket only; everybody else is refused."""
    estate = Estate(sentinels=False).application().refuse(name, "refused: Error 111 connecting. Connection refused.")
    for other in estate.names:
        link = estate.evidence[other]["nodes"]
        for view in link.values():
            if view.get("primary"):
                view["primary"].update(link_up=False, link_down_s=30, last_io_s=-1)
    refused = {"tries": 6, "answered": 6, "refused": 6, "best_ms": None, "error": ""}
    for viewer in estate.evidence:
        if viewer != name:
            estate.look(viewer, paths={name: refused})
    estate.look(name, server={"reachable": True, "via": "unix", "config": {"bind": "127.0.0.1 -::1"}, "info": {}})
    return estate.look(name, connections={"total": 0, "by_address": {}, "listening": ["127.0.0.1", "::1"]})


def test_A18_a_server_bound_to_loopback_is_no_matter_of_the_firewall() -> None:
    diagnosis = loopback().diagnose(applications=["app1"])
    ids = {found["id"] for found in diagnosis["findings"]}
    assert ids == {"bound_to_loopback"}
    node = loopback().build().nodes["redis1"]
    assert (node.lives, node.refuses) == (True, False), "its own host reaches it, and nobody else gets an answer"
    (finding,) = diagnosis["findings"]
    assert any("127.0.0.1" in line for line in finding["evidence"])
    assert diagnosis["plan"]["actions"] == []


# --- B4 -------------------------------------------------------------------------------------------------------------


def usurper(nodes: int = 2) -> Estate:
    """B4: redis2 says that it was promoted out of redis1's history at its very end."""
    estate = Estate(sentinels=False, nodes=nodes)
    return estate.say("redis2", role="master", primary=None, replid="b" * 40, replid2=OLD, second_offset=1_000_001)


@pytest.mark.parametrize("third", ["none", "silent"])
def test_B4_a_claimant_does_not_become_the_primary_by_its_own_word(third: str) -> None:
    """Before: a replica that claimed to be the successor was believed, and the real primary was made to follow it.

    Now: without the sentinels' majority or another replica's live link it is a dispute; both sides' data is said.
    """
    estate = usurper(2 if third == "none" else 3)
    if third == "silent":
        estate.lose("redis3")
    built = estate.build()
    plan = make_plan(built)
    assert (built.state, plan.verdict, plan.actions) == (DISPUTED, "refused", [])
    assert "redis1 (offset 1000, 10 keys" in str(plan.refusal) and "redis2 (offset 1000, 10 keys" in str(plan.refusal)


def test_B4_nobody_vouches_for_itself() -> None:
    estate = usurper()
    own = {"host": "192.0.2.2", "port": 6379, "link_up": True, "last_io_s": 0}
    assert estate.say("redis2", primary=own).build().state == DISPUTED


def test_B4_a_third_partys_live_link_decides() -> None:
    built = usurper(3).build()
    assert (built.primary, built.stale) == ("redis1", ["redis2"])
    (action,) = (step for step in make_plan(built).actions if step.host == "redis2")
    assert (action.remedy, action.args["preserve"]) == ("follow", True)


@pytest.mark.parametrize(("sentinels", "kept"), [(True, False), (False, True)])
def test_B4_without_the_sentinels_word_a_copy_is_kept_whatever_the_new_one_says(sentinels: bool, kept: bool) -> None:
    estate = Estate(sentinels=sentinels).promote("redis2", at=500).say("redis1", offset=499)
    (action,) = (step for step in make_plan(estate.build()).actions if step.host == "redis1")
    assert action.args["preserve"] is kept


# --- B14 ------------------------------------------------------------------------------------------------------------


def test_B14_one_liar_neither_wins_by_an_offset_nor_stops_the_recovery() -> None:
    """Before: a replica that claimed an offset of 2^62 was promoted, and one host's word kept a dead primary alive.

    Now: an impossible offset is not believed, and one host's word does not count against the proof of the dead
    server's own host that most others confirm.
    """
    estate = Estate().kill("redis1").say("redis3", offset=1 << 62)
    built = estate.build()
    assert [node.name for node in good_replicas(built)] == [node.name for node in candidates.candidates(built)]
    assert [node.name for node in good_replicas(built)] == ["redis2"]
    assert "claims an offset" in candidates.why_not(built, built.nodes["redis3"])
    assert candidates.loss_bytes(built, built.nodes["redis2"]) == 0
    assert make_plan(built).actions[0].host == "redis2"


@pytest.mark.parametrize(("offset", "fit"), [(MAX_OFFSET - 1, True), (MAX_OFFSET, False)])
def test_B14_the_bound_of_an_offset(offset: int, fit: bool) -> None:
    built = Estate().kill("redis1").say("redis3", offset=offset).build()
    assert ("redis3" in [node.name for node in good_replicas(built)]) is fit
    assert bool(candidates.why_not(built, built.nodes["redis3"])) is not fit


@pytest.mark.parametrize("sentinels", [True, False])
@pytest.mark.parametrize("lie", ["it is the primary", "it refuses me"])
def test_B14_one_hosts_word_does_not_keep_a_dead_primary_alive(lie: str, sentinels: bool) -> None:
    estate = Estate(sentinels=sentinels)
    view = dict(estate.evidence["redis3"]["nodes"]["redis1"])
    estate.kill("redis1")
    if lie == "it is the primary":
        estate.evidence["redis3"]["nodes"]["redis1"] = {**view, "offset": 1 << 62}
    else:
        estate.evidence["redis3"]["nodes"]["redis1"]["error"] = AUTH
    built = estate.build()
    assert (built.nodes["redis1"].liveness, built.claims) == (DEAD, [])
    assert [step.remedy for step in make_plan(built).actions] == ["failover" if sentinels else "start_primary"]


# --- who may be promoted, and what is not dead ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {"loading": True},
        {"priority": 0},
        {"offset": MAX_OFFSET},
        {"role": "unknown"},
        {"primary": {"host": "192.0.2.1", "port": 6379, "link_up": False, "syncing": True}},
    ],
)
def test_who_is_not_fit_is_nowhere_a_candidate(said: dict[str, Any]) -> None:
    built = Estate().kill("redis1").say("redis3", **said).build()
    assert [node.name for node in good_replicas(built)] == ["redis2"]
    assert [node.name for node in candidates.candidates(built)] == ["redis2"]
    assert candidates.why_not(built, built.nodes["redis3"])
    assert [node.name for node in good_replicas(Estate().kill("redis1").build())] == ["redis2", "redis3"]


def test_a_server_that_loads_is_not_dead_nor_beside_it_another_started() -> None:
    estate = (
        Estate(sentinels=False).kill("redis1").say("redis2", role="master", primary=None, loading=True, replid2=NONE)
    )
    plan = make_plan(estate.build())
    assert "start_primary" not in [step.remedy for step in plan.actions]


@pytest.mark.parametrize(
    ("unit", "on_purpose"),
    [
        ({"load": "loaded", "active": "failed", "result": "signal"}, False),
        ({"load": "loaded", "active": "inactive", "result": "success"}, True),
        ({"load": "masked", "active": "inactive", "result": "signal"}, True),
        ({"load": "masked", "active": "failed", "result": "signal"}, True),
        ({"load": "not-found", "active": "inactive", "result": "success"}, False),
    ],
)
def test_only_a_unit_that_is_there_was_stopped_by_a_person(unit: dict[str, str], on_purpose: bool) -> None:
    estate = Estate(sentinels=False).kill("redis1")
    estate.evidence["redis1"]["units"][UNIT].update(unit)
    built = estate.build()
    assert built.nodes["redis1"].dead
    assert built.nodes["redis1"].stopped_on_purpose is on_purpose
    started = [step.remedy for step in make_plan(built).actions] == ["start_primary"]
    assert started is (unit["load"] == "loaded" and not on_purpose)


def test_a_replica_that_is_not_proven_dead_is_left_to_a_person() -> None:
    estate = Estate().kill("redis3")
    assert [step.remedy for step in make_plan(estate.build()).actions] == ["follow"]
    estate.evidence["redis3"]["port"] = {
        "number": 6379,
        "state": "held",
        "pid": 9,
        "name": "python3",
        "unit": "x.service",
    }
    plan = make_plan(estate.build())
    assert (plan.actions, plan.verdict) == ([], "degraded")
    assert "python3 (process 9, x.service) holds its port" in plan.todo[0]
    estate.evidence["redis3"].pop("port")
    assert make_plan(estate.build()).actions == [], "evidence without the new look proves nothing"


@pytest.mark.parametrize("others", ["dead", "unproven"])
def test_a_server_whose_unit_is_down_is_not_started_beside_who_holds_its_port(others: str) -> None:
    estate = Estate(sentinels=False).kill("redis1").kill("redis2").kill("redis3")
    assert [step.remedy for step in make_plan(estate.build()).actions] == ["start_primary"]
    for name in estate.names if others == "unproven" else ["redis1"]:
        estate.evidence[name]["port"].update(state="held", pid=9, name="redis-server", unit="by-hand.service")
    plan = make_plan(estate.build())
    assert (plan.verdict, plan.actions) == ("refused", [])
    assert "redis-server (process 9, by-hand.service) holds its port" in str(plan.refusal)


FULL = "maxclients: max number of clients reached"


@pytest.mark.parametrize("error", [FULL, AUTH])
def test_a_server_that_does_not_tell_its_role_may_be_the_primary_unless_the_sentinels_know(error: str) -> None:
    alone = Estate(sentinels=False).refuse("redis2", error).kill("redis1").build()
    assert make_plan(alone, accepted=Accepted(ANYBODY, -1)).actions == []
    assert candidates.living(alone)
    watched = Estate().refuse("redis2", error).kill("redis1").build()
    assert (watched.state, candidates.living(watched)) == (NO_PRIMARY, [])
    assert [step.remedy for step in make_plan(watched).actions] == ["failover"]


def test_only_the_proof_of_its_own_host_confirms_a_death_to_sentinel() -> None:
    estate = Estate().kill("redis1")
    assert make_plan(estate.build()).actions[0].args["confirmed_dead"] is True
    estate.evidence["redis1"]["port"]["state"] = "held"
    assert make_plan(estate.build()).actions[0].args["confirmed_dead"] is False


def silenced() -> Estate:
    """Nobody gets an answer of redis1, and its replicas' links are down."""
    estate = Estate().refuse("redis1", "timeout: timed out")
    for name in ("redis2", "redis3"):
        estate.say(
            name, primary={"host": "192.0.2.1", "port": 6379, "link_up": False, "link_down_s": 3, "last_io_s": 0}
        )
    return estate


@pytest.mark.parametrize(
    ("said", "lives"), [({}, True), ({"last_ok_ms": 2001}, False), ({"down": True}, False), ({"last_ok_ms": -1}, False)]
)
def test_the_sentinels_accept_what_answered_them_just_now(said: dict[str, Any], lives: bool) -> None:
    estate = silenced()
    for name in ("redis1", "redis2"):
        estate.watch(name, **said)
    assert estate.build().nodes["redis1"].lives is lives


def test_one_sentinel_alone_neither_misses_nor_names_a_primary() -> None:
    assert silenced().watch("redis1", down=True, down_ms=900).build().missed_ms("redis1") is None
    alone = Estate().lose("redis2").lose("redis3").build()
    assert len(alone.watchers_alive) == 1 and alone.named is None


def test_sentinels_that_name_a_live_server_are_not_overruled_by_a_claim() -> None:
    estate = Estate().promote("redis2", at=900)
    for name in estate.names:
        estate.watch(name, primary={"host": "192.0.2.1", "port": 6379})
    estate.refuse("redis1", FULL)
    assert estate.build().state == DISPUTED
    estate.refuse("redis1", "timeout: timed out")
    for name in estate.names:
        estate.watch(name, down=True, last_ok_ms=9000)
    assert (estate.build().state, estate.build().primary) == (AGREED, "redis2")


def test_a_host_that_reaches_its_own_server_proves_no_death() -> None:
    estate = Estate().cut("redis2", "redis1").cut("redis3", "redis1")
    for name in ("redis2", "redis3"):
        estate.say(name, primary={"host": "192.0.2.1", "port": 6379, "link_up": False, "last_io_s": -1})
    estate.evidence["redis1"]["port"]["state"] = "free"
    estate.evidence["redis1"]["holdings"]["servers"] = []
    estate.evidence["redis1"]["units"][UNIT]["pid"] = 0
    assert estate.build().nodes["redis1"].lives


def test_a_hung_process_is_for_the_sentinels_to_judge() -> None:
    estate = Estate().refuse("redis1", "timeout: timed out")
    for name in ("redis2", "redis3"):
        estate.say(name, primary={"host": "192.0.2.1", "port": 6379, "link_up": False, "link_down_s": 3})
    for name in estate.names:
        estate.watch(name, down=True, down_ms=100, last_ok_ms=6000)
    built = estate.build()
    assert built.nodes["redis1"].liveness is UNKNOWN
    (action,) = make_plan(built).actions
    assert (action.remedy, action.args["confirmed_dead"]) == ("failover", False)
