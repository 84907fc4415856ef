# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A TCP proxy between a client and a Redis server, for bad wires: a round trip time, and replies that never arrive."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Optional


class Wire:
    """Listens on ``port``. ``delay`` is seconds each way.

    After ``cut_reply_to(word)`` the next request that holds ``word`` reaches the server, and its reply reaches nobody:
    the connection is closed instead. ``cuts`` counts how often that happened.
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.delay = delay
        self.cuts = 0
        self._target = target
        self._blocked = threading.Event()
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

    def block(self) -> None:
        """Swallow everything from now on; the connections stay open."""
        self._blocked.set()

    def open(self) -> None:
        """Let new connections through; those that were open stay as they are."""
        self._blocked = threading.Event()

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

    def _pump(self, source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        """Copy until one side ends."""
        blocked = self._blocked
        send = _Late(sink, self.delay).send if self.delay else sink.sendall
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if blocked.is_set():
                    continue
                data = change(data)
                if not data:
                    break
                send(data)
        if self.delay:
            send(b"")
        else:
            _shut(sink)
        _shut(source)


class _Late:
    """Sends some time later, in a thread of its own, so that what follows does not wait in line."""

    def __init__(self, sink: socket.socket, delay: float) -> None:
        self._sink, self._delay = sink, delay
        self._queue: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def send(self, data: bytes) -> None:
        """Have it sent; nothing ends the connection."""
        self._queue.put((time.monotonic() + self._delay, data))

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = self._queue.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    break
                self._sink.sendall(data)
        _shut(self._sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
