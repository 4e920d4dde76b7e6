"""The face in the notebook: magics and live views. Nothing here is imported before `%load_ext po_jupyter`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from IPython.core.interactiveshell import InteractiveShell

    from po_jupyter.kernel.session import Connect, Session

_ATTRIBUTE = "_po_jupyter"


def load(
    ipython: InteractiveShell, verbs: Callable[[], click.Group] | None = None, connect: Connect | None = None
) -> Session:
    """Register the magics in `ipython`. Starts and asks nothing; loading twice keeps what cells have defined.

    `verbs` gives the group of the CLI's verbs when `%po` needs it; `connect(start=...)` gives the client.
    """
    from po_jupyter.kernel.magics import PoMagics
    from po_jupyter.kernel.session import Session

    session: Session | None = getattr(ipython, _ATTRIBUTE, None)
    if session is None:
        session = Session(ipython, connect)
        setattr(ipython, _ATTRIBUTE, session)
    ipython.register_magics(PoMagics(session, verbs))
    assert ipython.display_formatter is not None
    formatter = ipython.display_formatter.mimebundle_formatter
    # By name: importing the client (httpx) is left to the first use.
    formatter.for_type_by_name("po_jupyter.client.client", "Run", _formatter(session))
    return session


def _formatter(session: Session) -> Callable[..., dict[str, object] | None]:
    def format_run(run: object, include: object = None, exclude: object = None) -> dict[str, object] | None:
        from po_jupyter.client.client import Run
        from po_jupyter.errors import PoError

        assert isinstance(run, Run)
        try:
            return session.bundle_of(run)
        except PoError:
            return None  # the plain repr: a value must print even when nobody answers

    return format_run


def unload(ipython: InteractiveShell) -> None:
    """Take the magics away and stop the views; runs go on."""
    session: Session | None = getattr(ipython, _ATTRIBUTE, None)
    if session is None:
        return
    session.close()
    delattr(ipython, _ATTRIBUTE)
    for kind, name in (("cell", "po_pipeline"), ("cell", "po_task"), ("line", "po")):
        ipython.magics_manager.magics[kind].pop(name, None)
    assert ipython.display_formatter is not None
    ipython.display_formatter.mimebundle_formatter.pop("po_jupyter.client.client.Run", None)
