# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence that is garbage, truncated or hostile: the diagnosis never fails, nor says anything else of healthy hosts.

``tests/data/lab-evidence.json`` is what diagnose.yml saved of a healthy lab.
"""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifeline.common.client import CONNECTION_ERRORS
from lifeline.common.facts import DEPTH_LIMIT
from lifeline.diagnose import evidence
from lifeline.diagnose.causes.catalogue import CATALOGUE
from lifeline.errors import LifelineError
from lifeline.observe import logs, processes, server, system
from lifeline.observe.estate import fields, parse_info, parse_sentinel
from lifeline.observe.files import parse_config
from lifeline.observe.units import parse_units
from lifeline.plan.diagnosis import HEALTHY, diagnose
from lifeline.report.html import diagnosis_page
from lifeline.report.markdown import diagnosis_markdown
from lifeline.report.text import diagnoses_text, diagnosis_text, outcome_text

SAVED = Path(__file__).resolve().parents[1] / "data" / "lab-evidence.json"
ESTATE = evidence.load(str(SAVED))[0]

# What somebody who can write a log line or a key would try on whoever reads the report.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]></style><svg onload=alert(1)>",
    "\x1b]0;owned\x07\x1b[2J",
    "`) [click](javascript:alert(1)) ![x](http://203.0.113.1/x.png)",
    "| a | b |\n# heading\n---\n> quote\n```",
    "{{ lookup('pipe', 'id') }}",
    "\u202egnp.exe\u2066",
    "\ud800",
    "A" * 100_000,
)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20),
    st.sampled_from(HOSTILE),
)  # fmt: skip
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
common = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def damaged(estate: dict[str, Any], changes: list[tuple[list[int], Any]]) -> dict[str, Any]:
    """A copy in which each change walks down by its numbers, and puts its value where it ends."""
    changed = copy.deepcopy(estate)
    for picks, value in changes:
        place: Any = changed["evidence"]
        for at, pick in enumerate(picks):
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = keys[pick % len(keys)]
            if at == len(picks) - 1 or not isinstance(place[key], (dict, list)):
                place[key] = value
                break
            place = place[key]
    return changed


def check(diagnosis: dict[str, Any]) -> None:
    """It says something, no cause stumbled, and every form of the report is sound."""
    assert diagnosis["verdict"] in ("healthy", "impaired", "down", "blind")
    assert diagnosis["unjudged"] == []
    json.dumps(diagnosis)
    sound(diagnosis)


class Strict(HTMLParser):
    """Every element closed in its order, and none but those that the report is made of."""

    KNOWN = frozenset(
        re.findall(
            r"\w+",
            "html head meta title style body main header h1 h2 h3 p span dl dt dd ul ol li code section table caption "
            "thead tbody tr th td div svg g rect text path defs marker desc footer",
        )
    )

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.KNOWN, tag
        names = [name for name, _value in attrs]
        assert not [name for name in names if name.startswith("on") or name in ("href", "src", "srcset")], (tag, names)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def sound(diagnosis: dict[str, Any]) -> None:
    page = diagnosis_page(diagnosis)
    Strict(page)
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    document = diagnosis_markdown(diagnosis)
    text = diagnosis_text(diagnosis, ["r/diagnosis.html"])
    for form in (page, document, text):
        assert all(char.isprintable() or char == "\n" for char in form), "steers a terminal"
        form.encode("utf-8")
    assert not re.search(r"[<`\]]|://", outside_code(document)), "markup of somebody else's"


def outside_code(document: str) -> str:
    """Markdown without its code spans, in which all is literal, and without what is escaped."""
    left, at = "", 0
    while at < len(document):
        if document[at] == "\\":
            at += 2
            continue
        fence = re.compile(r"`+").match(document, at)
        end = re.compile(rf"(?<!`){fence[0]}(?!`)").search(document, fence.end()) if fence else None
        if end:
            at = end.end()
            continue
        left += document[at]
        at += 1
    return left


def test_the_saved_lab_is_healthy_and_every_cause_was_judged() -> None:
    said = diagnose(ESTATE)
    assert (said["verdict"], said["findings"]) == (HEALTHY, [])
    check(said)


@common
@given(st.lists(st.tuples(st.lists(st.integers(0, 400), min_size=2, max_size=8), junk), min_size=1, max_size=12))
def test_any_value_anywhere_in_evidence_is_survived(changes: list[tuple[list[int], Any]]) -> None:
    check(diagnose(damaged(ESTATE, changes)))


@common
@given(
    st.fixed_dictionaries(
        {}, optional={name: junk for name in ("service", "quorum", "nodes", "sentinels", "applications", "silent")}
    ),
    st.lists(junk, max_size=4) | junk,
)
def test_an_estate_of_nothing_but_garbage_is_survived(estate: dict[str, Any], documents: Any) -> None:
    check(diagnose({**estate, "evidence": documents}))


@common
@given(st.integers(0, 3), st.dictionaries(st.sampled_from(sorted(ESTATE["evidence"][0])), junk))
def test_one_hosts_garbage_says_nothing_of_the_others(host: int, sections: dict[str, Any]) -> None:
    changed = copy.deepcopy(ESTATE)
    name = changed["evidence"][host]["host"]
    sections.pop("host", None)
    sections.pop("service", None)
    changed["evidence"][host] = {"host": name, "service": ESTATE["service"], **sections}
    said = diagnose(changed)
    check(said)
    others = {document["host"] for document in ESTATE["evidence"]} - {name}
    assert not [finding for finding in said["findings"] if finding["where"] in others]
    assert said["primary"]["name"] == diagnose(ESTATE)["primary"]["name"]


@common
@given(junk)
def test_a_bundle_is_read_or_refused_in_one_sentence(saved: Any) -> None:
    for attempt in (saved, {"kind": evidence.BUNDLE_KIND, "version": 1, "estates": saved}):
        try:
            estates = evidence.estates_of(attempt, "x.json")
        except LifelineError as error:
            assert "\n" not in str(error)
        else:
            for estate in estates:
                check(diagnose(estate))


@given(st.integers(0, SAVED.stat().st_size))
@common
def test_a_truncated_bundle_is_refused(length: int) -> None:
    text = SAVED.read_text()[:length].rstrip()
    try:
        found = evidence.estates_of(json.loads(text), "x.json")
    except (ValueError, LifelineError):
        return
    assert found == [ESTATE]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b"[]", "no evidence bundle"),
        (b'{"kind": "lifeline-evidence", "version": 7}', "version 7"),
        (b'{"kind": "lifeline-evidence", "version": 1, "estates": [1]}', "holds no estate"),
    ],
)
def test_a_file_that_is_no_bundle_is_one_clear_sentence(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "evidence.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LifelineError, match=words) as raised:
        evidence.load(str(path))
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_folder_of_bundles_is_all_their_estates(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evidence.json").write_text(SAVED.read_text())
    assert len(evidence.load(str(tmp_path))) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(LifelineError, match=r"No evidence\.json"):
        evidence.load(str(tmp_path / "empty"))


def test_garbage_in_one_estate_leaves_the_other_as_it_was() -> None:
    garbage = {**ESTATE, "service": "other", "evidence": [{"host": "redis1", "service": "other", "nodes": 7}, 5]}
    bundle = json.loads(json.dumps(evidence.bundle([garbage, ESTATE])))
    other, healthy = (diagnose(estate) for estate in evidence.estates_of(bundle, "x.json"))
    assert other["verdict"] != HEALTHY
    assert healthy == diagnose(ESTATE)
    assert "HEALTHY" in diagnoses_text([other, healthy])


def test_evidence_that_is_too_deep_is_cut_off() -> None:
    deep: Any = "bottom"
    for _level in range(DEPTH_LIMIT * 20):
        deep = {"x": [deep]}
    changed = copy.deepcopy(ESTATE)
    changed["evidence"][0].update(
        odd=deep, server=deep, nodes={**changed["evidence"][0]["nodes"], "redis2": {"odd": deep}}
    )
    check(diagnose(changed))


def test_names_of_hosts_that_are_markup_stay_text() -> None:
    for text in HOSTILE:
        changed = json.loads(
            json.dumps(ESTATE).replace("redis2", json.dumps(text)[1:-1]).replace("app1", json.dumps(text + "b")[1:-1])
        )
        for document in changed["evidence"][1:]:
            for view in document["nodes"].values():
                view.update(reachable=False, error=text)
        said = diagnose({**changed, "evidence": changed["evidence"][1:]})
        assert said["findings"]
        check(said)


def test_a_cause_that_stumbles_is_named_and_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(case: Any) -> Any:
        raise KeyError("odd")

    broken = copy.copy(CATALOGUE[-1])
    object.__setattr__(broken, "detect", stumble)
    monkeypatch.setattr("lifeline.diagnose.findings.CATALOGUE", (broken, *CATALOGUE))
    said = diagnose(ESTATE)
    assert (said["verdict"], said["unjudged"]) == (HEALTHY, [broken.id])
    assert "Not judged" in diagnosis_text(said) and "Not judged" in diagnosis_page(said)


text_or_bytes = st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "replace"))


@common
@given(text_or_bytes, st.lists(st.text(max_size=10), max_size=3))
def test_no_text_makes_a_parser_stumble(text: str, units: list[str]) -> None:
    parse_config(text)
    parse_units(units, text)
    processes.parse_status(text)
    system.parse_meminfo(text)
    system.parse_pressure(text)
    list(logs._redis_lines(text))
    list(logs._journal_lines(text))
    logs.group([(1.0, line) for line in text.splitlines()], 0.0, str)


@common
@given(st.binary(max_size=2000))
def test_no_log_file_makes_the_look_at_it_stumble(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "x.log"
    path.write_bytes(content)
    json.dumps(logs.file_groups(str(path), 0.0, str))


@common
@given(junk, st.lists(junk | st.just(CONNECTION_ERRORS[0]("x")), min_size=5, max_size=5))
def test_no_reply_makes_a_parser_stumble(reply: Any, replies: list[Any]) -> None:
    fields(reply)
    server.settings(reply)
    server.events(reply)
    server.refusals(reply)
    if isinstance(reply, dict):
        parse_info({str(name): value for name, value in reply.items()})
        server.statistics(reply)
    try:
        json.dumps(parse_sentinel(replies))
    except CONNECTION_ERRORS:
        assert any(isinstance(answer, CONNECTION_ERRORS) for answer in replies)


@pytest.mark.parametrize("why", ["TimeoutError: journalctl did not end within 2 s", *HOSTILE])
def test_what_no_host_could_look_at_in_time_is_told_in_every_report(why: str) -> None:
    estate = copy.deepcopy(ESTATE)
    estate["evidence"][1]["errors"] = {"logs.journal": why}
    said = diagnose(estate)
    check(said)
    (unseen,) = said["unseen"]
    assert unseen.startswith(f"{estate['evidence'][1]['host']}: logs.journal (")
    for told in (diagnosis_text(said), diagnosis_markdown(said), diagnosis_page(said)):
        assert "Not seen" in told and "logs.journal" in told
    assert said["verdict"] == HEALTHY
    assert diagnose(ESTATE)["unseen"] == []
    told = outcome_text("redis", said, said, 9.0, {"write_through": "x"})
    assert len([line for line in told if line.startswith("Not seen: ") and "logs.journal" in line]) == 1
