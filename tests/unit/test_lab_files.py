# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab keeps on the control node: modes, certificates, keys."""

from __future__ import annotations

import io
import ssl
import subprocess
import tarfile
from pathlib import Path

import pytest
from lifeline.lab import files


@pytest.fixture
def directory(tmp_path: Path) -> files.Directory:
    made = files.Directory(str(tmp_path / "inventory"))
    files.make_lab_keys(made, "lab")
    return made


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_secrets_are_for_their_owner_only(directory: files.Directory) -> None:
    files.make_certificate(directory, "redis1", "10.213.0.11")
    directory.save_state(files.new_state())
    assert mode(directory.private) == 0o700
    for name in ("id_ed25519", "ca.key", "redis1.key", "state.json"):
        assert mode(directory.private / name) == 0o600, name


def test_a_certificate_is_good_for_every_way_to_reach_the_host(directory: files.Directory) -> None:
    files.make_certificate(directory, "redis1", "10.213.0.11")
    verify = ["openssl", "verify", "-x509_strict", "-CAfile", directory.ca]
    for check in (
        ["-verify_hostname", "redis1"],
        ["-verify_hostname", "localhost"],
        *(["-verify_ip", address] for address in ("10.213.0.11", "127.0.0.1", "::1")),
    ):
        subprocess.run([*verify, *check, directory.certificate("redis1")], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory.certificate("redis1"), directory.certificate_key("redis1"))


def test_a_state_without_its_keys_is_none(directory: files.Directory) -> None:
    state = files.new_state()
    directory.save_state(state)
    assert directory.state() == state
    directory.key.unlink()
    assert directory.state() == {}


def test_writing_the_same_again_changes_nothing(directory: files.Directory) -> None:
    assert directory.write(directory.inventory, "{}\n", 0o600)
    assert not directory.write(directory.inventory, "{}\n", 0o600)
    directory.inventory.chmod(0o644)
    assert directory.write(directory.inventory, "{}\n", 0o600)
    assert mode(directory.inventory) == 0o600


def test_removing_leaves_what_others_put_there(directory: files.Directory) -> None:
    other = directory.path / "group_vars.yml"
    other.write_text("---\n")
    assert directory.remove()
    assert other.exists()
    other.unlink()
    assert not directory.remove()
    assert not directory.path.exists()


def test_passwords_are_long_and_differ() -> None:
    passwords = files.new_state()["passwords"]
    assert set(passwords) == {"application", "replica", "sentinel", "observer", "operator"}
    assert len(set(passwords.values())) == 5
    assert all(len(password) >= 32 for password in passwords.values())


def test_the_seed_gives_each_file_its_owner_and_mode() -> None:
    with tarfile.open(fileobj=io.BytesIO(files.seed("authorized\n", "private\n", "public\n"))) as archive:
        found = {entry.name: (entry.uid, entry.mode) for entry in archive}
        key = archive.extractfile("etc/ssh/ssh_host_ed25519_key")
        assert key is not None
        assert key.read() == b"private\n"
    assert found["etc/ssh/ssh_host_ed25519_key"] == (0, 0o600)
    assert found["home/ops/.ssh/authorized_keys"] == (1000, 0o600)
