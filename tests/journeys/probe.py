# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on a lab host, with nothing but Python's standard library: scan ports, talk to Redis, look for leaks.

Reads ``[function, {options}]`` from standard input and prints the result as JSON.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import selectors
import socket
import ssl
import stat
import subprocess
import sys
import time


def scan(address, ports=None, seconds=1.5, at_once=500):
    """TCP ports of ``address`` that accept a connection, of all 65535 or of ``ports``.

    Those that drop packets are given up after ``seconds``; meanwhile others take their turn.
    """
    found = []
    waiting = iter(ports or range(1, 65536))
    deadlines = {}  # in the order of their deadlines, as dicts keep what is put in
    with selectors.DefaultSelector() as selector:
        while True:
            for port in itertools.islice(waiting, at_once - len(deadlines)):
                sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
                sock.setblocking(False)
                sock.connect_ex((address, port))
                selector.register(sock, selectors.EVENT_WRITE, port)
                deadlines[sock] = time.monotonic() + seconds
            if not deadlines:
                return sorted(found)
            for key, _events in selector.select(0.05):
                if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.append(key.data)
                _drop(selector, deadlines, key.fileobj)
            now = time.monotonic()
            for sock in [sock for sock, deadline in itertools.islice(deadlines.items(), 50) if deadline < now]:
                _drop(selector, deadlines, sock)


def _drop(selector, deadlines, sock):
    selector.unregister(sock)
    del deadlines[sock]
    sock.close()


def sessions(scripts, **options):
    """``talk`` once for each list of commands in ``scripts``; a list of what it returns."""
    return [talk(commands=commands, **options) for commands in scripts]


def talk(address, port, commands, tls=True, ca=None, ca_text=None, seconds=3):
    """Send commands over one connection: a list of their replies, errors as ``{"error": text}``.

    A connection that fails is the one reply ``{"failed": name of the exception, "text": text}``.
    """
    try:
        with socket.create_connection((address, port), timeout=seconds) as plain:
            plain.settimeout(seconds)
            sock = plain
            if tls:
                context = ssl.create_default_context(cafile=ca, cadata=ca_text)
                context.check_hostname = False
                sock = context.wrap_socket(plain)
            with sock.makefile("rwb") as stream:
                replies = []
                for command in commands:
                    stream.write(b"*%d\r\n" % len(command))
                    for word in command:
                        data = word.encode()
                        stream.write(b"$%d\r\n%s\r\n" % (len(data), data))
                    stream.flush()
                    replies.append(_reply(stream))
                return replies
    except (OSError, EOFError) as error:
        return [{"failed": type(error).__name__, "text": str(error)}]


def _reply(stream):
    line = stream.readline().decode(errors="replace").rstrip("\r\n")
    if not line:
        raise EOFError("the server closed the connection")
    kind, rest = line[0], line[1:]
    if kind == "-":
        return {"error": rest}
    if kind == ":":
        return int(rest)
    if kind == "$":
        return None if rest == "-1" else stream.read(int(rest) + 2)[:-2].decode(errors="replace")
    if kind == "*":
        return [_reply(stream) for _ in range(int(rest))]
    return rest


def leaks(word, logged=()):
    """Where ``word`` shows to people who should not see it: process lists, the journal, files that all may read.

    ``logged``: more texts that the journal must not hold.
    """
    found = []
    texts = [word.encode(), *(text.encode() for text in logged)]
    needle = word.encode()
    own = str(os.getpid())
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        if path.split("/")[2] != own and needle in _read(path):
            found.append(path + ": " + _read(path).replace(b"\0", b" ").decode(errors="replace")[:80])
    journal = subprocess.run(["journalctl", "--no-pager", "--output=cat"], stdout=subprocess.PIPE, check=False).stdout
    for line in journal.splitlines():
        if any(text in line for text in texts):
            found.append("journal: " + line.decode(errors="replace")[:80])
    for top in ("/etc", "/var", "/run", "/tmp", "/home", "/root", "/opt", "/srv", "/usr/local"):
        for directory, names, files in os.walk(top):
            names[:] = [name for name in names if _open_to_all(os.path.join(directory, name), stat.S_IXOTH)]
            for name in files:
                path = os.path.join(directory, name)
                if _open_to_all(path, stat.S_IROTH) and os.path.getsize(path) < 50_000_000 and needle in _read(path):
                    found.append(path)
    return found


def _open_to_all(path, bit):
    try:
        mode = os.lstat(path)
    except OSError:
        return False
    return bool(mode.st_mode & bit) and (stat.S_ISREG(mode.st_mode) or stat.S_ISDIR(mode.st_mode))


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


if __name__ == "__main__":
    what, options = json.load(sys.stdin)
    print(json.dumps(globals()[what](**options)))
