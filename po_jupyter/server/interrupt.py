"""SIGINT as a stop of the server: a hub, a container or a supervisor of services may send it instead of SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Protocol

from po_jupyter.platform import signals


class StoppableServer(Protocol):
    """A Jupyter server, as far as it can be stopped."""

    def stop(self) -> None:
        """Stop its extensions, then end its loop."""


def stop_on_interrupt(server: StoppableServer, environ: Mapping[str, str] | None = None) -> None:
    """Have SIGINT stop the server in order, where Jupyter does not handle it. Needs a running loop.

    Without a terminal a KeyboardInterrupt would end the loop before any extension hears of it. On a terminal Jupyter
    asks the person; a process for which somebody chose to ignore SIGINT goes on ignoring it. A hub stops its servers by
    SIGINT whatever handles or ignores it.
    """
    environ = os.environ if environ is None else environ
    if "JUPYTERHUB_SERVICE_PREFIX" in environ or signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signals.on_signal(signal.SIGINT, server.stop)
