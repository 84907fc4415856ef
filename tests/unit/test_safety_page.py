# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each row of harm and attack has its test, and each says what was and what is."""

from __future__ import annotations

from pathlib import Path

import pytest
from safety_page import ROWS, Row, rows


@pytest.fixture(scope="module")
def found_rows() -> dict[str, Row]:
    return rows()


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_test_that_says_what_was_and_what_is(row: str, found_rows: dict[str, Row]) -> None:
    found = found_rows[row]
    assert found.tests, f"{row}: no test is named after it"
    assert found.before and found.now, f"{row}: no docstring says Before and Now"


def test_no_test_is_named_after_a_row_that_is_unknown(found_rows: dict[str, Row]) -> None:
    assert set(found_rows) == set(ROWS)


def test_a_row_without_a_docstring_would_be_found(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_x.py").write_text(
        'def test_A1_x():\n    """Before: it did.\n\n    Now: it does not."""\ndef test_A2_x():\n    pass\n'
    )
    found = rows(folder)
    assert (found["A1"].before, found["A1"].now) == (["it did."], ["it does not."])
    assert found["A2"].tests and not found["A2"].before
    assert not found["B1"].tests
