"""A receiver of webhooks: a real HTTP server that keeps what is posted to it, and answers as it is told."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from typing import Any, NamedTuple

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()


class Post(NamedTuple):
    """One request: its headers in small letters, and what it was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def message(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


class WebhookReceiver:
    """Starts at once; `status` is what the next requests are answered, `headers` come with it."""

    def __init__(self, port: int = 0) -> None:
        outer = self
        self.status = 200
        self.headers: dict[str, str] = {}
        self.posts: list[Post] = []
        self._came = threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with outer._came:
                    status = outer.status
                    outer.posts.append(Post(self.path, headers, body, status))
                    outer._came.notify_all()
                self.send_response(status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook/of-ops"

    def channel(self, **more: Any) -> dict[str, Any]:
        """The settings of a channel to it."""
        return {"webhook": self.url, "secret": SECRET, **more}

    def accepted(self) -> list[Post]:
        return [post for post in self.posts if post.status == 200]

    def wait_for(self, count: int, *, timeout: float = 20.0, accepted: bool = False) -> list[Post]:
        """The requests, once there are so many."""
        with self._came:
            found = self._came.wait_for(
                lambda: len(self.accepted() if accepted else self.posts) >= count, timeout
            )
        assert found, [(post.status, post.message) for post in self.posts]
        return self.accepted() if accepted else list(self.posts)

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def __enter__(self) -> WebhookReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
