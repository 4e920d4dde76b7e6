"""A server that log lines are sent to."""

from __future__ import annotations

import http.server
import json
import threading
from typing import Any


class LogCollector:
    """A server that keeps what is posted to it, after it has refused `refuse` requests."""

    def __init__(self, refuse: int = 0) -> None:
        outer = self
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.refuse = refuse

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if outer.refuse:
                    outer.refuse -= 1
                    self.send_response(503)
                else:
                    outer.bodies.append(body)
                    outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                    self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/logs"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for body in self.bodies for line in body.decode().splitlines()]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
