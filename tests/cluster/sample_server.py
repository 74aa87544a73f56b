"""A model server for tests: answers with NAME, has a health check and one metric; runs in pods by `python -c`."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """One answer for everybody."""

    protocol_version = "HTTP/1.1"
    # Head and body in one packet: in two, the second would wait 40 ms for a delayed acknowledgement.
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer a health check, a scrape or a request."""
        metrics = self.path == "/metrics"
        body = b"# TYPE sample_up gauge\nsample_up 1\n" if metrics else os.environ["NAME"].encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Stay quiet."""


ThreadingHTTPServer((os.environ["POD_IP"], 9000), Handler).serve_forever()
