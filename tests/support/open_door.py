"""A server extension that leaves a door open, for the test that the walk of all doors can fail."""

from __future__ import annotations

from typing import Any

from jupyter_server.extension.application import ExtensionApp
from tornado.web import RequestHandler


class Left(RequestHandler):
    def get(self) -> None:
        self.finish({"open": True})


class OpenDoor(ExtensionApp):
    name = "open_door"

    def initialize_handlers(self) -> None:
        self.handlers.append((r"/po/api/v1/left-open", Left))


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "open_door", "app": OpenDoor}]
