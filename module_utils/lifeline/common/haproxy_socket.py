# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a running HAProxy answers on its own socket."""

from __future__ import annotations

import socket


def admin(name: str, command: str) -> str:
    """What the running process answers on its socket, empty when it does not."""
    try:
        return say(name, command)
    except OSError:
        return ""


def say(name: str, command: str) -> str:
    """The running process's answer to a command on its socket. Raises OSError when there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(2)
        channel.connect(f"/run/{name}/admin.sock")
        channel.sendall(f"{command}\n".encode())
        answer = b""
        while True:
            data = channel.recv(65536)
            if not data:
                return answer.decode("utf-8", "replace")
            answer += data
