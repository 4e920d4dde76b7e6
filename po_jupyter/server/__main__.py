"""`python -m po_jupyter.server`: the headless orchestrator, a Jupyter server on loopback with this extension
alone.

It writes how to reach it (url, token, pid; mode 0600) to `--ready-file`, by default where clients look.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from po_jupyter.model.pipeline import json_schema
from po_jupyter.platform.lean_imports import import_httpx, import_structlog

# First: Jupyter and the rest would import them with what takes a second and 35 MB.
json_schema.load()
import_httpx()
import_structlog()

import psutil  # noqa: E402
from jupyter_server.serverapp import ServerApp  # noqa: E402
from traitlets.config import Config  # noqa: E402

from po_jupyter import config  # noqa: E402
from po_jupyter.client import headless  # noqa: E402
from po_jupyter.config import owner  # noqa: E402
from po_jupyter.errors import PoError  # noqa: E402
from po_jupyter.platform import private_file  # noqa: E402
from po_jupyter.platform.private_file import write_private  # noqa: E402
from po_jupyter.server.lifecycle import check_settings  # noqa: E402


class HeadlessApp(ServerApp):
    """A server with neither kernels nor files nor pages, and none of the user's Jupyter configuration.

    That configuration may open a browser's server to the network; this one is for this user's programs.
    """

    name = "po-headless"
    default_services = ("auth", "security")  # type: ignore[assignment]  # the base's type counts its thirteen
    ready_file: Path

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        """None is read."""

    def write_server_info_file(self) -> None:
        """Say how to reach this server: whole or not at all, and to its user only."""
        info = {
            "url": f"http://127.0.0.1:{self.port}{self.base_url}",
            "token": self.identity_provider.token,
            "pid": os.getpid(),
            "created": psutil.Process().create_time(),
        }
        write_private(self.ready_file, json.dumps(info))

    def remove_server_info_file(self) -> None:
        """Take the file away, unless another server has written its own meanwhile."""
        with suppress(OSError, ValueError, KeyError):
            if json.loads(self.ready_file.read_text("utf-8"))["pid"] == os.getpid():
                self.ready_file.unlink()


def make_app(settings: config.Settings, ready_file: Path, port: int = 0) -> HeadlessApp:
    """The server, listening, not yet serving."""
    token = settings.auth_token.get_secret_value() if settings.auth_token else secrets.token_urlsafe(32)
    chosen = Config(
        {
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": port,
                "open_browser": False,
                "no_browser_open_file": True,
                "allow_root": True,  # nothing is served to anybody but the user who started it
                "allow_unauthenticated_access": False,
                "answer_yes": True,
                "root_dir": str(settings.data_dir),
                "jpserver_extensions": {"po_jupyter": True},
                "log_level": "WARN",
            },
            "IdentityProvider": {"token": token},
        }
    )
    app = HeadlessApp.instance(config=chosen)
    app.ready_file = ready_file
    app.initialize(argv=[], find_extensions=False)
    # Its logger lets every line through to a handler that drops them: three of them for each request.
    app.log.setLevel(app.log_level)
    return app


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. 0, or 3 when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m po_jupyter.server", description=__doc__)
    parser.add_argument("--ready-file", type=Path, help="where to write url, token and pid")
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free one")
    arguments = parser.parse_args(argv)
    private_file.keep_private()
    try:
        settings = config.load()
        check_settings(settings)  # else it would be up and never ready, and `po start` would call that started
        owner.check(settings.data_dir)
        folder = headless.runtime_dir(settings)
        folder.mkdir(mode=private_file.PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        running = headless.running(settings)
        if running is not None and arguments.ready_file is None:
            print(
                f"an orchestrator of {settings.data_dir} is running already (pid {running.pid})",
                file=sys.stderr,
            )
            return 3
        app = make_app(settings, arguments.ready_file or folder / "headless.json", arguments.port)
    except PoError as error:
        print(error, file=sys.stderr)
        return 3
    except OSError as error:
        print(f"the orchestrator cannot start: {error}", file=sys.stderr)
        return 3
    app.start()
    return 0


def end(status: int) -> NoReturn:
    """End this process, whatever its threads still wait for: a disk that hangs would keep it for ever."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    logging.shutdown()
    os._exit(status)


if __name__ == "__main__":
    end(main())
