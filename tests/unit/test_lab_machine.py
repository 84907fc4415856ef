# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab needs from the machine, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lifeline.errors import LifelineError
from lifeline.lab import machine, plan


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no tools but those that a test puts there."""
    monkeypatch.setattr(machine, "_PATH", str(tmp_path))
    return tmp_path


def tool(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_missing_tools_are_named_by_their_packages_once(bare: Path) -> None:
    tools = (
        ("ssh", (), "openssh-client"),
        ("ssh-keygen", (), "openssh-client"),
        ("netavark", ("/etc/passwd",), "netavark"),
    )
    assert machine.missing_packages(tools) == ["openssh-client"]
    tool(bare, "ssh", "")
    tool(bare, "ssh-keygen", "")
    assert machine.missing_packages(tools) == []


def test_without_apt_one_sentence_says_what_to_install(bare: Path) -> None:
    with pytest.raises(LifelineError, match="needs podman runc, and this machine has no APT"):
        machine.install(["podman", "runc"])


def test_when_apt_fails_its_own_reason_is_in_the_sentence(bare: Path) -> None:
    tool(bare, "apt-get", "echo 'E: Unable to locate package podman' >&2; exit 100")
    with pytest.raises(LifelineError) as caught:
        machine.install(["podman"])
    assert "E: Unable to locate package podman" in str(caught.value)
    assert "Install them by hand" in str(caught.value)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo first >&2; echo last >&2; exit 1", "Cannot try: last"),
        ("exit 3", "Cannot try: tried exits 3"),
        ("exec sleep 10", "Cannot try: tried did not finish within 0 s"),
    ],
    ids=["says why", "says nothing", "hangs"],
)
def test_a_command_that_fails_is_one_sentence(
    bare: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setenv("PATH", f"{bare}:/usr/bin:/bin")
    monkeypatch.setattr(machine, "_PATH", f"{bare}:/usr/bin:/bin")
    tool(bare, "tried", script)
    with pytest.raises(LifelineError, match=message):
        machine.run(["tried"], "try", timeout=0.4)
    with pytest.raises(LifelineError, match="the command nowhere is missing"):
        machine.run(["nowhere"], "try")


def test_reading_is_tried_again_when_something_was_removed_meanwhile(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_PATH", f"{bare}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{bare}:/usr/bin:/bin")
    tool(
        bare,
        "gone",
        f"test -e {bare}/once && exec echo found; touch {bare}/once; echo 'no such container' >&2; exit 125",
    )
    assert machine.look(lambda: ["gone"], "list").strip() == "found"


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """A kernel setting that is a file, at 0 before the first lab; returns how to read it."""
    path = tmp_path / "overcommit_memory"
    path.write_text("0\n")
    monkeypatch.setattr(plan, "KERNEL_SETTINGS", (str(path), str(tmp_path / "not-on-this-kernel")))
    monkeypatch.setattr(machine, "RUN_DIR", tmp_path / "run")
    monkeypatch.setattr(machine, "containers", list)
    return path.read_text


def test_kernel_settings_are_given_back_as_they_were_before_the_first_lab(
    setting: Callable[[], str], tmp_path: Path
) -> None:
    machine.record_kernel()
    (tmp_path / "overcommit_memory").write_text("1\n")
    machine.record_kernel()  # a second lab must not take the first one's value for the machine's
    assert machine.restore_kernel() == [str(tmp_path / "overcommit_memory")]
    assert setting() == "0"
    assert machine.restore_kernel() == []


def test_kernel_settings_stay_while_another_lab_is_there(
    setting: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.record_kernel()
    (tmp_path / "overcommit_memory").write_text("1\n")
    other = plan.Container("lifeline-x-h1", "h1", "x", "/inventory", "run", "bookworm", "", "running")
    monkeypatch.setattr(machine, "containers", lambda: [other])
    assert machine.restore_kernel() == []
    assert setting() == "1\n"
    monkeypatch.setattr(machine, "containers", list)
    assert machine.restore_kernel() == [str(tmp_path / "overcommit_memory")]
