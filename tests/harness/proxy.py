# SPDX-License-Identifier: Apache-2.0
"""proxy.py -- stands before a replica and can fall silent.

A network that loses everything looks to a client like a peer that says nothing:
connections stay open, new ones are accepted, and no octet comes.  The same from
the other side.
"""

import select
import socket
import threading

from harness.rpc import parse_address


class Proxy:
    """`with Proxy("host:port") as proxy:` passes on what comes to proxy.address."""

    def __init__(self, target):
        self.target = parse_address(target)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.silent = threading.Event()
        self.closed = threading.Event()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closed.set()
        self.listener.close()

    def cut(self):
        """From now on nothing passes."""
        self.silent.set()

    def _accept(self):
        while not self.closed.is_set():
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        with near:
            if not self.silent.is_set():
                try:
                    with socket.create_connection(self.target, timeout=2.0) as far:
                        self._pass_on(near, far)
                except OSError:
                    pass
            if self.silent.is_set():
                self.closed.wait()  # Open, and silent.

    def _pass_on(self, near, far):
        peer = {near: far, far: near}
        while not self.closed.is_set() and not self.silent.is_set():
            ready, _, _ = select.select(list(peer), [], [], 0.02)
            for one in ready:
                data = one.recv(65536)
                if not data:
                    return
                if self.silent.is_set():
                    break
                peer[one].sendall(data)
        # Keeps both ends open while the silence lasts.
        if self.silent.is_set():
            self.closed.wait()
