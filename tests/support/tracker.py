"""The receivers of the outer world, as far as they are used: a GitHub, a Slack and a webhook, on a port of their own.

It runs in a thread, keeps what it is sent, and can hang at a chosen request, so that an operator can be killed there.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Tracker"]


class Tracker:
    """See the module."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str, dict[str, str], Any]] = []
        """Method, path, headers (in small letters) and body of every request."""
        self.hang_at = ""
        """``GET`` or ``POST`` of issues: it is taken (and carried out) and never answered."""
        self.reached = threading.Event()
        self._gate = threading.Event()
        tracker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = json.loads(raw) if raw else None
                tracker.calls.append((self.command, self.path, headers, body))
                status, answer = tracker.answer(self.command, self.path, body)
                if "/issues" in self.path and tracker.hang_at == self.command:
                    tracker.reached.set()
                    tracker._gate.wait(120)
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        class QuietServer(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Whoever asked was killed."""

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """What each of them would say."""
        if "/issues" not in path:
            return 200, "ok"
        if method == "POST":
            issue = {
                "html_url": f"{self.url}/issues/{len(self.issues) + 1}",
                "labels": [{"name": name} for name in body["labels"]],
                "title": body["title"],
                "body": body["body"],
            }
            self.issues.append(issue)
            return 201, issue
        wanted = path.partition("labels=")[2].partition("&")[0]
        return 200, [one for one in self.issues if wanted in {label["name"] for label in one["labels"]}]

    def hang(self, at: str) -> None:
        """From now on requests of this method hang; those that hung before never get their answer."""
        self.hang_at = at
        self.reached.clear()

    def wait_reached(self, seconds: float) -> None:
        """Until a request hangs."""
        deadline = time.monotonic() + seconds
        while not self.reached.wait(0.1):
            assert time.monotonic() < deadline, f"no {self.hang_at} came; there were {[c[:2] for c in self.calls]}"

    def to(self, path: str) -> list[tuple[str, str, dict[str, str], Any]]:
        """Every request to a path."""
        return [call for call in self.calls if call[1].startswith(path)]

    def close(self) -> None:
        """Stop."""
        self._gate.set()
        self._server.shutdown()
        self._server.server_close()
