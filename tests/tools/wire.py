# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A TCP proxy between a client and a Redis server, for bad wires: a round trip time, and replies that never arrive."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from typing import Optional


class Wire:
    """Listens on ``port``. ``delay`` is seconds each way.

    After ``cut_reply_to(word)`` the next request that holds ``word`` reaches the server, and its reply reaches nobody: the
    connection is closed instead. ``cuts`` counts how often that happened.
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.delay = delay
        self.cuts = 0
        self._target = target
        self._word: Optional[bytes] = None
        self._after = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_reply_to(self, word: bytes, after: int = 0) -> None:
        """Lose the reply to the next request with ``word`` in it, or to one ``after`` so many others."""
        with self._lock:
            self._word, self._after = word, after

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                server = socket.create_connection(("127.0.0.1", self._target))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                cut = threading.Event()
                threading.Thread(target=self._requests, args=(client, server, cut), daemon=True).start()
                threading.Thread(target=self._replies, args=(server, client, cut), daemon=True).start()
                continue
            client.close()

    def _due(self, data: bytes) -> bool:
        with self._lock:
            if self._word is None or self._word not in data:
                return False
            if self._after:
                self._after -= 1
                return False
            self._word = None
            return True

    def _requests(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        def seen(data: bytes) -> bytes:
            if self._due(data):
                self.cuts += 1
                cut.set()
            return data

        self._pump(client, server, seen)

    def _replies(self, server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
        self._pump(server, client, lambda data: b"" if cut.is_set() else data)

    def _pump(self, source: socket.socket, sink: socket.socket, change: object) -> None:
        """Copy until one side ends. With a delay, sending is a thread of its own, so that nothing waits in line."""
        queue: deque[tuple[float, bytes]] = deque()
        ready = threading.Condition()

        def send() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with ready:
                        while not queue:
                            ready.wait()
                        due, data = queue.popleft()
                    wait = due - time.monotonic()
                    if wait > 0:
                        time.sleep(wait)
                    if not data:
                        break
                    sink.sendall(data)
            _shut(sink)

        if self.delay:
            threading.Thread(target=send, daemon=True).start()
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(1 << 16)
                data = change(data) if data else b""  # type: ignore[operator]
                if self.delay:
                    with ready:
                        queue.append((time.monotonic() + self.delay, data))
                        ready.notify()
                elif data:
                    sink.sendall(data)
                if not data:
                    break
        if not self.delay:
            _shut(sink)
        _shut(source)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
