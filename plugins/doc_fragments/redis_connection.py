# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one server that a module talks to; used together with redis_credentials."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description: Address or name of the server.
    type: str
    default: 127.0.0.1
  login_port:
    description: Port of the server (the TLS port with O(tls)).
    type: int
    default: 6379
  login_unix_socket:
    description: Path of the server's Unix socket; used instead of O(login_host), without TLS.
    type: path
"""
