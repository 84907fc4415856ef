# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waivers, verdicts and the forms of a report."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from lifeline.compliance import judge
from lifeline.compliance.judge import assess, changes
from lifeline.compliance.run import work
from lifeline.errors import LifelineError
from lifeline.report.compliance import forms, text
from postures import NOW, Posture

WAIVER = {"control": "HST-006", "reason": "ordered", "owner": "storage", "expires": "2026-12-31"}


def broken() -> Posture:
    """HST-006 (medium) fails on one host, RDS-002 (high) on another."""
    estate = Posture()
    estate.hosts["redis1"]["mount"]["own"] = False
    estate.hosts["redis2"]["redis"]["config"]["protected-mode"] = "no"
    return estate


def report(estate: Posture, **other: Any) -> dict[str, Any]:
    return {**assess({**estate.options(), **other}, NOW), "previous": None}


def status(said: dict[str, Any], control: str, where: str) -> str:
    return next(row["status"] for row in said["results"] if (row["control"], row["where"]) == (control, where))


def test_the_threshold_decides_what_makes_an_estate_not_compliant() -> None:
    estate = broken()
    assert report(estate)["verdict"]["reasons"] == ["1 of severity high failed"]
    assert len(report(estate, fail_on="medium")["verdict"]["reasons"]) == 2
    assert report(estate, fail_on="never")["verdict"]["compliant"]
    estate.hosts["redis2"]["redis"]["config"]["protected-mode"] = "yes"
    assert report(estate)["verdict"]["compliant"]


def test_what_could_not_be_looked_at_makes_an_estate_not_compliant() -> None:
    estate = Posture()
    del estate.evidence["redis3"]
    reasons = report(estate)["verdict"]["reasons"]
    assert len(reasons) == 1 and "could not be looked at" in reasons[0]


def test_a_waiver_covers_its_control_and_hosts() -> None:
    estate = broken()
    estate.waivers = [WAIVER]
    said = report(estate, fail_on="medium")
    assert status(said, "HST-006", "redis1") == "waived"
    assert status(said, "HST-006", "redis2") == "pass"
    estate.waivers = [{**WAIVER, "hosts": ["redis2", "redis3"]}]
    assert status(report(estate), "HST-006", "redis1") == "fail"
    estate.waivers = [{**WAIVER, "hosts": "redis*"}]
    assert status(report(estate), "HST-006", "redis1") == "waived"


def test_a_waiver_holds_to_the_end_of_its_last_day() -> None:
    estate = broken()
    estate.waivers = [{**WAIVER, "expires": time.strftime("%Y-%m-%d", time.gmtime(NOW))}]
    assert status(report(estate), "HST-006", "redis1") == "waived"


def test_an_expired_waiver_fails_loudly_whatever_the_threshold() -> None:
    estate = Posture()
    estate.waivers = [{**WAIVER, "expires": "2020-01-31"}]
    said = report(estate, fail_on="never")
    assert not said["verdict"]["compliant"]
    assert "HST-006 expired on 2020-01-31 (owner: storage)" in said["verdict"]["reasons"][0]
    estate = broken()
    estate.waivers = [{**WAIVER, "expires": "2020-01-31"}]
    row = next(row for row in report(estate)["results"] if row["status"] == "fail" and row["control"] == "HST-006")
    assert "its waiver expired on 2020-01-31" in row["evidence"][-1]


def test_an_error_is_never_waived() -> None:
    estate = Posture()
    del estate.evidence["redis3"]
    estate.waivers = [WAIVER]
    assert status(report(estate), "HST-006", "redis3") == "error"


@pytest.mark.parametrize(
    ("waiver", "said"),
    [
        ({**WAIVER, "control": "RDS-999"}, "names RDS-999, which is no control"),
        ({**WAIVER, "expires": "soon"}, "expires on soon"),
        ({name: value for name, value in WAIVER.items() if name != "owner"}, "lacks owner"),
        ({**WAIVER, "until": "x"}, "unknown until"),
        ("HST-006", "no mapping"),
    ],
)
def test_a_waiver_that_cannot_be_read_is_refused(waiver: Any, said: str) -> None:
    estate = Posture()
    estate.waivers = [waiver]
    with pytest.raises(LifelineError, match=said):
        report(estate)


def test_the_run_before_says_what_is_new_and_what_is_repaired() -> None:
    before, after = report(broken()), report(Posture())
    assert [row["control"] for row in changes(before, after)["repaired"]] == ["RDS-002", "HST-006"]
    assert [row["control"] for row in changes(after, before)["new"]] == ["RDS-002", "HST-006"]
    estate = broken()
    estate.waivers = [WAIVER]
    assert [row["control"] for row in changes(before, report(estate))["repaired"]] == []


@pytest.mark.parametrize("garbage", [{}, {"results": 7}, {"results": [3, {}]}, {"summary": [], "time": "x"}])
def test_a_report_of_before_may_be_anything(garbage: Any) -> None:
    assert changes(garbage, report(Posture()))["new"] == []


def nasty() -> dict[str, Any]:
    """A report with hostile names and texts in every place that comes from outside."""
    evil = "<script>alert(1)</script>|`*\"'&\\\n\x07"
    estate = Posture()
    for posture in estate.hosts.values():
        if "config_file" in posture:
            posture["config_file"]["renamed"] = [evil]
    estate.waivers = [{**WAIVER, "control": "RDS-019", "reason": evil, "owner": evil, "hosts": ["redis1"]}]
    said = report(estate)
    said["service"] = evil
    for row in said["results"]:
        row["evidence"].append(evil)
    said["previous"] = changes(report(broken()), said)
    return said


def test_junit_is_xml_with_one_case_a_result() -> None:
    for said in (report(broken()), nasty()):
        root = ElementTree.fromstring(forms.render("junit", said))
        cases = root.findall("./testsuite/testcase")
        counts = said["summary"]["by_status"]
        assert len(cases) == len(said["results"]) == int(root.attrib["tests"])
        assert len(root.findall(".//failure")) == counts["fail"] == int(root.attrib["failures"])
        skipped = counts["waived"] + counts["manual"] + counts["not_applicable"]
        assert len(root.findall(".//skipped")) == skipped == int(root.attrib["skipped"])
        assert sum(int(suite.attrib["tests"]) for suite in root) == len(cases)


def test_sarif_has_what_its_schema_requires() -> None:
    """The required properties and the words of SARIF 2.1.0's schema (section 3 of the standard)."""
    for said in (report(broken()), nasty()):
        log = json.loads(forms.render("sarif", said))
        assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
        run = log["runs"][0]
        rules = run["tool"]["driver"]["rules"]
        assert run["tool"]["driver"]["name"]
        assert len({rule["id"] for rule in rules}) == len(rules)
        assert len(run["results"]) == len(said["results"])
        for result in run["results"]:
            assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
            assert result["message"]["text"]
            assert result["kind"] in ("pass", "open", "informational", "notApplicable", "review", "fail")
            assert result["level"] in ("none", "note", "warning", "error")
            assert result["kind"] == "fail" or result["level"] == "none"
            for place in result["locations"]:
                assert re.fullmatch(r"[\w.~/-]+", place["physicalLocation"]["artifactLocation"]["uri"])
            assert all(one["kind"] == "external" for one in result.get("suppressions", []))
        assert len({result["partialFingerprints"]["control/v1"] for result in run["results"]}) == len(said["results"])


def test_prometheus_metrics_have_one_value_a_series() -> None:
    line = re.compile(r'lifeline_compliance_[a-z_]+\{([a-z_]+="(?:[^"\\\n]|\\.)*",?)+\} -?[0-9.e+]+')
    for said in (report(broken()), nasty()):
        rendered = forms.render("prometheus", said)
        series = [one for one in rendered.splitlines() if not one.startswith("#")]
        assert all(line.fullmatch(one) for one in series)
        names = [one.rpartition(" ")[0] for one in series]
        assert len(set(names)) == len(names)
        helped = re.findall(r"^# TYPE (\S+) gauge$", rendered, re.MULTILINE)
        assert len(set(helped)) == len(helped) == len(re.findall(r"^# HELP ", rendered, re.MULTILINE))


class Page(HTMLParser):
    """What a page loads and runs."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.rows += any(name == "class" and "row" in (value or "").split() for name, value in attrs)
        self.outside += [name for name, _value in attrs if name in ("src", "href") or name.startswith("on")]


def test_the_page_runs_nothing_and_loads_nothing() -> None:
    for said in (report(broken()), nasty()):
        rendered = forms.render("html", said)
        page = Page()
        page.feed(rendered)
        assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
        assert page.outside == []
        assert page.rows == len(said["results"])
        assert "url(" not in rendered and "@import" not in rendered


def test_markdown_shows_what_failed_and_no_markup_of_others() -> None:
    said = forms.render("markdown", report(broken()))
    assert "### RDS-002" in said and "- redis2: protected-mode no" in said
    assert "<script>" not in forms.render("markdown", nasty())


def test_B14_a_report_in_markdown_links_and_mentions_nothing() -> None:
    """Before: addresses, @names and #numbers of a hostile host became links and mentions in compliance.md.

    Now: they are text, and what turns the direction of writing is gone from every form.
    """
    said = report(broken())
    said["results"][0].update(
        status="fail", evidence=["https://evil.example/ www.evil.example @someone #13 a@evil.example \u202e"]
    )
    written = forms.render("markdown", said)
    line = next(line for line in written.splitlines() if "evil" in line)
    for sign in ("://", "www.", "@", "#13", "\u202e"):
        assert sign not in line.replace("&#", ""), line
    rows = judge._result(judge.CATALOGUE[0], "x", "fail", ["a\u202eb\x1b[2J\n"])
    assert rows["evidence"] == ["a b [2J "]


def test_the_terminal_shows_each_failure_and_its_fix() -> None:
    lines = text.lines(report(broken()), ["x/compliance.html"])
    assert any(line.startswith("failed: RDS-002 (high)") and "[redis2]" in line for line in lines)
    assert any(line.startswith("    fix: ") for line in lines)
    assert lines[-1] == "Report: x/compliance.html"


def test_reports_are_written_compared_and_pruned(tmp_path: Path) -> None:
    options = {**broken().options(), "report_dir": str(tmp_path), "keep": 2}
    first = work(options, False)
    assert first["report"]["previous"] is None
    assert {Path(path).name for path in first["reports"]} == set(forms.FILES.values())
    second = work({**Posture().options(), "report_dir": str(tmp_path), "keep": 2}, False)
    assert {row["control"] for row in second["report"]["previous"]["repaired"]} == {"RDS-002", "HST-006"}
    work({**options, "formats": ["json"]}, False)
    assert len(list((tmp_path / "history").iterdir())) == 2
    assert all(path.stat().st_mode & 0o007 == 0 for path in tmp_path.rglob("*") if path.is_file())


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LifelineError, match="cannot be written on the control node"):
        work({**Posture().options(), "report_dir": str(tmp_path / "file" / "below")}, False)


def test_no_secret_and_no_digest_reaches_a_report() -> None:
    said = json.dumps(report(Posture()))
    for digest in ("a1", "b2", "c3", "d4", "e5"):
        assert f'"{digest}"' not in said


def test_evidence_may_be_anything() -> None:
    rows = report(Posture(), evidence=[{"host": "redis1", "service": "redis", "posture": [1, 2]}, 7, None])["results"]
    assert {row["status"] for row in rows} <= {"error", "not_applicable", "fail"}
