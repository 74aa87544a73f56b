"""A real terminal (tmux) to run a command in, and a line to the API server that can be cut."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Mapping

import pytest

from localcluster import eventually

__all__ = ["Line", "Terminal"]


class Terminal:
    """A command in a tmux of its own; ``with`` ends it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], *, width: int, height: int = 40) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed")
        self._server = f"test-{uuid.uuid4().hex[:8]}"
        given = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
        # readline, which pytest brings, exports the size of a terminal that this one is not
        script = f"unset COLUMNS LINES; {shlex.join(command)}; echo exit=$?; exec sleep 600"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), *given, script)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._server, *words], capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout

    def lines(self) -> list[str]:
        """What stands there now."""
        return self._tmux("capture-pane", "-p").rstrip("\n").splitlines()

    def colours(self) -> bool:
        """Whether anything that stands there is coloured or bold."""
        return "\x1b[" in self._tmux("capture-pane", "-p", "-e")

    def press(self, key: str) -> None:
        """Press a key, by tmux's name for it."""
        self._tmux("send-keys", key)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def until(self, check: Callable[[list[str]], bool], what: str) -> list[str]:
        """Wait for what should stand there; the lines."""

        def there() -> list[str]:
            lines = self.lines()
            assert check(lines), "\n".join(lines)
            return lines

        return eventually(there, what, timeout=45, interval=0.2)


class Line:
    """A port of this machine that leads to another one, until it is cut."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._to)
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()

    def cut(self) -> None:
        """End every connection and take no other."""
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open = []

    def mend(self) -> None:
        """Take connections again, at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._serve()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
