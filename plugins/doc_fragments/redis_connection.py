# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one server that a module talks to; used together with redis_credentials."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Address or name of the server. Needed without O(login_unix_socket).
      - There is no default, since a Redis on the machine that the module runs on may be another one.
    type: str
  login_port:
    description: Port of the server (the TLS port with O(tls)).
    type: int
    default: 6379
  login_unix_socket:
    description: Path of the server's Unix socket; used instead of O(login_host), without TLS.
    type: path
"""
