# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Root acts on a unit and a file only where they are a server's, whoever named them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lifeline.act import acting
from lifeline.act.acting import config_of_server, unit_of_server
from lifeline.errors import LifelineError

STARTS = {
    "redis-server@main.service": "ExecStart={ path=/usr/bin/redis-server ; argv[]=/usr/bin/redis-server }",
    "cache.service": "ExecStart={ path=/opt/start ; argv[]=/opt/start valkey.conf }",
    "systemd-poweroff.service": "ExecStart={ path=/bin/systemctl ; argv[]=systemctl poweroff }",
}


@pytest.mark.parametrize(
    "name", ["poweroff.target", "--force", "-H evil.service", "a b.service", "../x.service", "", "x"]
)
def test_B3_a_strange_unit_is_not_acted_upon(name: str) -> None:
    """Before: host A's word made root start poweroff.target and rewrite /etc/sudoers on host B.

    Now: the module that acts checks on its own host that unit and file are a Redis server's.
    """
    with pytest.raises(LifelineError, match="nothing was changed"):
        unit_of_server(name, {"load": "loaded", "pid": 0})


@pytest.mark.parametrize(("name", "fits"), [(name, "systemd" not in name) for name in STARTS])
def test_what_a_unit_would_start_is_a_server(name: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "output", lambda argv: STARTS[argv[-1]])
    if fits:
        unit_of_server(name, {"load": "loaded", "pid": 0})
        unit_of_server(name, {})
    else:
        with pytest.raises(LifelineError, match="does not start a Redis server"):
            unit_of_server(name, {"load": "loaded", "pid": 0})


def test_what_runs_in_a_unit_is_a_server() -> None:
    with pytest.raises(LifelineError, match="which is not a Redis server"):
        unit_of_server("redis-server@main.service", {"load": "loaded", "pid": os.getpid()})


@pytest.mark.parametrize("text", ["root ALL=(ALL) ALL\n", "", "# port 6379\n", "x" * ((1 << 20) + 9)])
def test_another_file_is_no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "redis-main.conf"
    path.write_text(text)
    with pytest.raises(LifelineError, match="not the configuration of a Redis server"):
        config_of_server(str(path))


def test_links_and_pipes_are_no_configuration(tmp_path: Path) -> None:
    real, link, pipe = tmp_path / "real", tmp_path / "link", tmp_path / "pipe"
    real.write_text("port 6379\n")
    link.symlink_to(real)
    os.mkfifo(pipe)
    assert config_of_server(str(real)) == "port 6379\n"
    for path in (link, pipe, tmp_path / "none"):
        with pytest.raises(LifelineError, match="nothing was changed"):
            config_of_server(str(path))
