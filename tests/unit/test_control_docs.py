# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is written about controls is what the code says, and every control can be made to fail somewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import control_docs
from lifeline.compliance.controls.base import SEVERITIES
from lifeline.compliance.controls.catalogue import CATALOGUE
from modules import ROOT


def test_the_page_has_the_catalogues_table() -> None:
    assert control_docs.PAGE.read_text() == control_docs.page(), "run tests/tools/control_docs.py"
    assert f"judges {len(CATALOGUE)} controls" in control_docs.PAGE.read_text()


def test_ids_are_one_each_and_every_control_says_all_of_itself() -> None:
    assert len({control.id for control in CATALOGUE}) == len(CATALOGUE)
    for control in CATALOGUE:
        assert control.severity in SEVERITIES
        assert control.title[0].isupper() and not control.title.endswith("."), control.id
        assert control.why.endswith(".") and control.fix.endswith("."), control.id
        assert control.reference, control.id


def test_every_control_has_a_mutation_on_the_lab_or_a_reason(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(sys, "path", [str(ROOT / "tests" / "controls"), *sys.path])
    for name in ("base", "mutations"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import mutations  # registers them
    from base import FIXTURES, MUTATIONS

    assert Path(mutations.__file__).parent == ROOT / "tests" / "controls"
    assert {entry.control for entry in MUTATIONS} | set(FIXTURES) == {control.id for control in CATALOGUE}
    assert not {entry.control for entry in MUTATIONS} & set(FIXTURES)
    repairs = {control.id for control in CATALOGUE if control.repairs}
    assert {entry.control for entry in MUTATIONS if entry.repaired} <= repairs
    for name in ("base", "mutations"):
        monkeypatch.delitem(sys.modules, name, raising=False)
