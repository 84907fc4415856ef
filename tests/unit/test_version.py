# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lifeline has one version, and what it writes names it."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from lifeline.common.version import VERSION
from lifeline.compliance.judge import assess
from lifeline.diagnose import evidence
from lifeline.errors import LifelineError
from lifeline.report.compliance import forms
from lifeline.report.incident import incident
from modules import ROOT


def test_the_changelogs_newest_entry_and_the_project_name_this_version() -> None:
    newest = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    entry = re.fullmatch(r"(\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d|not released yet)\)", newest[1])
    assert entry, f"CHANGELOG.md begins with {newest[1]!r}: give the version, and its date in brackets"
    assert entry[1] == VERSION
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_a_compliance_report_names_the_version_that_judged() -> None:
    report = assess({"service": "redis"}, now=0)
    assert report["lifeline"] == VERSION
    driver = json.loads(forms.render("sarif", report))["runs"][0]["tool"]["driver"]
    assert driver["semanticVersion"] == VERSION


def test_a_record_and_saved_evidence_name_the_version_that_wrote_them() -> None:
    assert incident({"estate": "redis"})["lifeline"] == VERSION
    assert evidence.bundle([{"service": "redis"}])["lifeline"] == VERSION


def test_evidence_in_another_format_names_the_version_to_read_it_with() -> None:
    saved = {**evidence.bundle([{"service": "redis"}]), "version": 7, "lifeline": "9.9.9"}
    with pytest.raises(LifelineError, match=r"diagnose it with Lifeline 9\.9\.9"):
        evidence.estates_of(saved, "evidence.json")
    del saved["lifeline"]
    with pytest.raises(LifelineError, match="diagnose it with the Lifeline that wrote it"):
        evidence.estates_of(saved, "evidence.json")
