"""`po start`, `po stop` and `po worker`: the processes of orchestrators."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base
from po_jupyter.errors import Unavailable

if TYPE_CHECKING:
    from po_jupyter.config import Settings


@click.command()
@base.JSON
def start(as_json: bool) -> int:
    """Start the background orchestrator, or say where it is.

    It is a Jupyter server of its own on this machine only, with a token of its own; runs go on when the
    terminal is closed.
    """
    from po_jupyter import config
    from po_jupyter.client import headless

    settings = config.load()
    before = headless.running(settings)
    running = headless.start(settings)
    fresh = before is None or before.pid != running.pid
    holder = headless.holder(settings)
    if as_json:
        base.print_json(
            {
                "started": fresh,
                "url": running.endpoint.url,
                "pid": running.pid,
                "data_dir": str(settings.data_dir),
                "holder": holder.pid if holder is not None else None,
            }
        )
        return 0
    base.print_line(f"orchestrator  {'started' if fresh else 'was running'}")
    base.print_line(f"address       {running.endpoint.url}   (its token: po token)")
    base.print_line(f"process       {running.pid}   (to end it: po stop)")
    base.print_line(f"data          {settings.data_dir}")
    if holder is not None and holder.pid != running.pid:
        base.print_line(
            f"store         held by the Jupyter server (process {holder.pid}), which works the runs off; this one "
            "takes over when that ends"
        )
    return 0


@click.command()
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
@base.JSON
def stop(timeout: float, as_json: bool) -> int:
    """Stop the background orchestrator; its runs go on at the next start."""
    import psutil

    from po_jupyter import config
    from po_jupyter.client import headless

    running = headless.running(config.load())
    if running is None:
        if as_json:
            base.print_json({"stopped": False, "pid": None})
        else:
            base.print_line("no background orchestrator is running")
        return 0
    try:
        # `headless` has compared pid and start time; psutil compares them again before it signals.
        process = psutil.Process(running.pid)
        process.terminate()
        until = time.monotonic() + timeout
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > until:
                raise Unavailable(
                    f"the orchestrator (process {running.pid}) has not stopped within {timeout:g} s",
                    hint="It may be finishing calls to models: `po stop` again waits longer.",
                )
            time.sleep(0.05)
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise Unavailable(f"process {running.pid} is not yours to stop") from None
    if as_json:
        base.print_json({"stopped": True, "pid": running.pid})
    else:
        base.print_line(
            f"stopped the orchestrator (process {running.pid}); its workers finish the calls in flight, runs go on "
            "at the next start"
        )
    return 0


@click.command()
@click.option("--store", metavar="URL", help="The database that the nodes share; else the setting `store`.")
@click.option("--broker", metavar="URL", help="The message broker; else the setting `broker`, or none.")
@click.option("--name", metavar="NAME", help="The node's name; else the setting `node`, or the machine's.")
@click.option("--slots", type=click.IntRange(1, 1000), metavar="N", help="Runs at work at the same time.")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="What this node has; may be repeated.")
@base.JSON
def worker(
    store: str | None,
    broker: str | None,
    name: str | None,
    slots: int | None,
    labels: tuple[str, ...],
    as_json: bool,
) -> int:
    """Work off runs of a shared store, until it is stopped.

    A node of its own, without Jupyter: start one on each machine. When it is stopped, calls in flight are finished,
    and other nodes go on with its runs.
    """
    from po_jupyter import config
    from po_jupyter.distributed import program

    options: dict[str, tuple[str, object]] = {
        "store": ("--store", store),
        "broker": ("--broker", broker),
        "node": ("--name", name),
        "max_running": ("--slots", slots),
        "node_labels": ("--label", list(labels) or None),
    }
    settings = config.load(options={key: option for key, option in options.items() if option[1] is not None})

    def ready(settings: Settings) -> None:
        if as_json:
            base.print_json(
                {"node": settings.node, "slots": settings.max_running, "data_dir": str(settings.data_dir)}
            )
        else:
            base.print_line(f"node   {settings.node}   (slots {settings.max_running}; to end it: Ctrl-C)")
            base.print_line(f"data   {settings.data_dir}")

    program.serve(settings, ready, lambda text: base.print_line(text, err=True))
    return 0


@click.group(invoke_without_command=True)
@base.JSON
@click.pass_context
def workers(context: click.Context, as_json: bool) -> int | None:
    """List the servers that share the store, or have one give its runs to others."""
    return _print_workers(as_json) if context.invoked_subcommand is None else None


def _print_workers(as_json: bool) -> int:
    found = base.connect(start=False).workers()
    if as_json:
        base.print_json(found)
        return 0
    rows = [
        (node["name"], node["state"], f"{node['running']}/{node['slots']}", node["version"], ",".join(node["labels"]),
         f"{node['silent']:g} s")
        for node in found["nodes"]
    ]  # fmt: skip
    base.print_table(("node", "state", "runs", "version", "labels", "silent"), rows)
    queue, broker = found["queue"], found["broker"]
    oldest = "" if queue["oldest"] is None else f", the first for {queue['oldest']:g} s"
    base.print_line(f"queue   {queue['queued']} wait{oldest}, {queue['running']} at work")
    for priority, count in queue["priorities"].items():
        base.print_line(f"        {count} of priority {priority}")
    if broker is not None:
        depths = ", ".join(f"{name} {count}" for name, count in (broker["depths"] or {}).items())
        base.print_line(f"broker  {'answers' if broker['works'] else 'does not answer'}   {depths}")
    return 0


@workers.command("drain")
@click.argument("node")
@base.JSON
def workers_drain(node: str, as_json: bool) -> int:
    """Have NODE give its runs to others and take none, until it is started again. Its calls in flight are finished."""
    base.connect(start=False).drain_node(node)
    if as_json:
        base.print_json({"drains": node})
    else:
        base.print_line(f"{node} gives its runs to others; `po workers` shows when it has none")
    return 0
