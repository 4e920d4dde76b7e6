"""The program: a Jupyter server with the extension alone, for the people of a hub, without kernels, files and pages."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyter_server.serverapp import ServerApp
from traitlets.config import Config

from po_jupyter import config
from po_jupyter.errors import InvalidSettings, PoError
from po_jupyter.hub.hub_identity import HubIdentity
from po_jupyter.hub.identity import TokenAuthority, TokenTable
from po_jupyter.hub_runs.roles import GroupRoles
from po_jupyter.platform import private_file
from po_jupyter.server.lifecycle import check_settings

_PREFIX = "/services/po-runs/"
# Nothing here is of the person who started it: no program, no folder, no code of anybody's.
_NOBODYS: dict[str, Any] = {
    "hub_behalf": True, "cli_agents": False, "mcp_servers": {}, "inbox_dir": None, "pipelines_dir": None,
    "worker_env": [], "auth_token": None, "skip_validation": False,
}  # fmt: skip


class SharedRunsApp(ServerApp):
    """A server with neither kernels nor files nor pages, and none of anybody's Jupyter configuration."""

    name = "po-shared-runs"
    default_services = ("auth", "security")  # type: ignore[assignment]  # the base's type counts its thirteen

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        """None is read."""

    def write_server_info_file(self) -> None:
        """None is written: its address is the hub's, and Jupyter's own token nobody has."""

    def remove_server_info_file(self) -> None:
        """None was written."""


def make_app(
    options: dict[str, Any],
    tokens: TokenAuthority,
    roles: GroupRoles,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    prefix: str = _PREFIX,
) -> SharedRunsApp:
    """The server, listening, not yet serving. `options` are settings by name. Raises InvalidSettings."""
    options = {**options, **_NOBODYS}
    settings = config.load(jupyter=options)
    if settings.hub_url is None:
        raise InvalidSettings(
            "shared runs ask their models through the hub's gateway, and its address is not known",
            hint="Set PO_HUB_URL in the service's environment: https://hub.example/services/po",
        )
    check_settings(settings)
    private_file.keep_private()
    settings.data_dir.mkdir(mode=private_file.PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    chosen = Config(
        {
            "ServerApp": {
                "ip": host,
                "port": port,
                "base_url": prefix,
                "open_browser": False,
                "no_browser_open_file": True,
                "allow_root": True,  # no code of anybody's is run
                "allow_remote_access": True,  # the hub's proxy passes on the name that the world has for it
                "allow_unauthenticated_access": False,
                "answer_yes": True,
                "root_dir": str(settings.data_dir),
                "jpserver_extensions": {"po_jupyter.hub_runs": True},
                "log_level": "WARN",
            },
            "IdentityProvider": {"token": secrets.token_urlsafe(32)},  # of Jupyter's own pages; nobody has it
            "SharedRunsExtension": {"options": options, "hub_tokens": tokens, "roles": roles},
        }
    )
    app = SharedRunsApp.instance(config=chosen)
    app.initialize(argv=[], find_extensions=False)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. 0, or 1 when it cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m po_jupyter.hub_runs",
        description="Runs without anybody's server: a service of a JupyterHub.",
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="the store of its own, on a local disk")
    parser.add_argument("--roles", type=Path, help="YAML: what members of groups of the hub may do")
    parser.add_argument("--host", help="where to listen (default: as JUPYTERHUB_SERVICE_URL says)")
    parser.add_argument("--port", type=int, help="the same; 0 is any free one")
    parser.add_argument(
        "--tokens", type=Path, help="without a hub, for a try: a JSON file {TOKEN: {name, groups, is_admin}}"
    )
    arguments = parser.parse_args(argv)
    address = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", ""))
    try:
        tokens: TokenAuthority
        if arguments.tokens is not None:
            tokens, prefix = TokenTable.read(arguments.tokens), _PREFIX
        else:
            tokens = hub = HubIdentity()
            prefix = hub.prefix
        app = make_app(
            {"data_dir": str(arguments.data_dir.absolute())},
            tokens,
            GroupRoles.read(arguments.roles) if arguments.roles is not None else GroupRoles(),
            host=arguments.host or address.hostname or "127.0.0.1",
            port=arguments.port if arguments.port is not None else address.port or 0,
            prefix=prefix,
        )
    except (PoError, OSError) as error:
        print(f"po_jupyter.hub_runs: {error}", file=sys.stderr)
        return 1
    app.start()
    return 0
