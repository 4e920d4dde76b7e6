"""The face in the notebook: magics and live views. Nothing here is imported before `%load_ext po_jupyter`.

For other rooms: `load` and `unload`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from IPython.core.interactiveshell import InteractiveShell

    from po_jupyter.kernel.completion import CellCompletion
    from po_jupyter.kernel.session import Connect, Session

_ATTRIBUTE, _MATCHER = "_po_jupyter", "_po_jupyter_matcher"
_RUN = ("po_jupyter.client.run", "Run")  # by name: importing the client is left to the first use


def load(
    ipython: InteractiveShell, verbs: Callable[[], click.Group] | None = None, connect: Connect | None = None
) -> Session:
    """Register the magics in `ipython`. Starts and asks nothing; loading twice keeps the cells' definitions.

    `verbs` gives the group of the CLI's verbs when `%po` needs it; `connect(start=...)` gives the client.
    """
    from po_jupyter.client.tables.watching import set_watcher
    from po_jupyter.kernel.magics import PoMagics
    from po_jupyter.kernel.session import Session

    session: Session | None = getattr(ipython, _ATTRIBUTE, None)
    if session is None:
        session = Session(ipython, connect)
        setattr(ipython, _ATTRIBUTE, session)
        if ipython.display_formatter is not None:
            ipython.display_formatter.mimebundle_formatter.for_type_by_name(*_RUN, session.run_bundle)
        if session.interactive:
            set_watcher(session.watch_run)
    ipython.register_magics(PoMagics(session, verbs))
    if not hasattr(ipython, _MATCHER):
        from po_jupyter.kernel.completion import CellCompletion

        completion = CellCompletion(session, verbs)
        setattr(ipython, _MATCHER, completion)
        ipython.Completer.custom_matchers.append(completion.matches)
    return session


def unload(ipython: InteractiveShell) -> None:
    """Take the magics away and stop the views; runs go on."""
    session: Session | None = getattr(ipython, _ATTRIBUTE, None)
    if session is None:
        return
    completion: CellCompletion | None = getattr(ipython, _MATCHER, None)
    if completion is not None:
        completion.close()
        with suppress(ValueError):
            ipython.Completer.custom_matchers.remove(completion.matches)
        delattr(ipython, _MATCHER)
    from po_jupyter.client.tables.watching import set_watcher

    set_watcher(None)
    session.close()
    delattr(ipython, _ATTRIBUTE)
    for kind, name in (("cell", "po_pipeline"), ("cell", "po_task"), ("line", "po")):
        ipython.magics_manager.magics[kind].pop(name, None)
    if ipython.display_formatter is not None:
        ipython.display_formatter.mimebundle_formatter.pop(".".join(_RUN), None)
