"""`po open`: the page of a run in JupyterLab."""

from __future__ import annotations

import os
import sys

import click

from po_jupyter.cli import base
from po_jupyter.errors import Unavailable


@click.command("open")
@base.RUN
@click.option(
    "--browser/--no-browser",
    default=None,
    help="Open it, or print the address alone. The default: where there is a desktop.",
)
@base.JSON
def open_(run_id: str, browser: bool | None, as_json: bool) -> int:
    """Print the address of a run's page in JupyterLab, and open it.

    The address works for everybody who may use that server; it has no token in it.
    """
    from po_jupyter.client.run import Run

    run: Run = base.find_run(run_id)
    url = f"{_lab_base(run.client.url).rstrip('/')}/lab?po-run={run.id}"
    if as_json:
        base.print_json({"run": run.id, "url": url})
    else:
        base.print_line(url)
    if browser or (browser is None and not as_json and _has_desktop()):
        click.launch(url)
    return 0


open = open_


def _lab_base(url: str) -> str:
    """Where people reach the Lab of the server at `url`. Raises Unavailable for an orchestrator without one."""
    from po_jupyter.client import headless
    from po_jupyter.config import load

    settings = load()
    if settings.public_url is not None:
        return settings.public_url
    holder = headless.holder(settings)
    if holder is not None and holder.kind != "jupyter" and holder.endpoint.url.rstrip("/") == url.rstrip("/"):
        raise Unavailable(
            "the background orchestrator has no pages: it is no Jupyter server",
            hint="Start `jupyter lab` with the same data directory; until then: po show RUN",
        )
    return url


def _has_desktop() -> bool:
    if not sys.stdout.isatty() or os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
