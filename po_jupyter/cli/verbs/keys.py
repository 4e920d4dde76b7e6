"""`po keys`: API keys of providers, kept where the orchestrator runs."""

from __future__ import annotations

import getpass
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput, PoError, Unavailable

if TYPE_CHECKING:
    from po_jupyter.client.client import Client

_SOURCES = {"environment": "environment", "keyring": "keyring", "file": "file", None: ""}


@click.group(invoke_without_command=True)
@base.JSON
@click.pass_context
def keys(context: click.Context, as_json: bool) -> int | None:
    """Keep, list or remove keys of model providers.

    `po keys` lists them. A key is asked for without showing it, or read from stdin; never an argument.
    """
    return _print_keys(as_json) if context.invoked_subcommand is None else None


@keys.command("list")
@base.JSON
def keys_list(as_json: bool) -> int:
    """List the keys, masked, where they come from and whom they go to."""
    return _print_keys(as_json)


@keys.command("set")
@click.argument("names", metavar="PROVIDER", nargs=-1, type=click.UNPROCESSED)
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the key from stdin, for scripts.")
@base.JSON
def keys_set(names: tuple[str, ...], from_stdin: bool, as_json: bool) -> int:
    """Keep a provider's key; it is asked for, and not shown.

    \b
    po keys set openai
    po keys set openai --stdin < key.txt
    """
    provider, client = _provider(names)
    key = _read_key() if from_stdin else _prompt_for_key(provider)
    state = (client or base.connect(start=True)).set_key(provider, key)
    if as_json:
        base.print_json(state)
        return 0
    if state["note"]:
        base.print_line(f"the key of {provider} is kept, but {base.plain(state['note'])}")
    else:
        storage = "the system's keyring" if state["source"] == "keyring" else "a file that only you can read"
        base.print_line(f"{provider}: {state['masked']} is kept in {storage}; the next run has it")
    return 0


@keys.command("remove")
@click.argument("names", metavar="PROVIDER", nargs=-1, type=click.UNPROCESSED)
@base.JSON
def keys_remove(names: tuple[str, ...], as_json: bool) -> int:
    """Forget the stored key of a provider."""
    provider, client = _provider(names)
    (client or base.connect(start=True)).remove_key(provider)
    if as_json:
        base.print_json({"removed": provider})
    else:
        base.print_line(f"the stored key of {provider} is removed; runs that have started still have it")
    return 0


def _provider(names: tuple[str, ...]) -> tuple[str, Client | None]:
    """The provider that the argument names, and the running orchestrator where one was connected to.

    Any other word may be a key: it is not repeated (P10), and nothing is started for it.
    """
    client = _running_client() if len(names) == 1 else None
    if client is not None and names[0] in _providers_of(client):
        return names[0], client
    return _checked_offline(names), client


def _running_client() -> Client | None:
    try:
        return base.connect(start=False)
    except Unavailable:
        return None


def _providers_of(client: Client) -> set[str]:
    with suppress(PoError):  # without the scope for it the request itself is refused, and says so
        states = client.keys()
        return {state["provider"] for state in states}
    return set()


def _checked_offline(names: tuple[str, ...]) -> str:
    """The one word, when an orchestrator of this package knows such a provider. Raises UsageError, InvalidInput."""
    from po_jupyter.cli.programs import offline_providers
    from po_jupyter.model.pipeline.violations import did_you_mean

    providers = offline_providers()
    if not names:
        raise click.UsageError(f"which provider? One of {', '.join(providers)}")
    name = names[0] if names[0] in providers else "PROVIDER"
    if len(names) > 1:
        raise InvalidInput(
            "a key is never an argument: it would stay in the history and in the list of processes",
            hint=f"If that was one, replace it with a new one. po keys set {name} asks for it.",
        )
    if name != names[0]:
        raise InvalidInput(
            f"that is not the name of a provider{did_you_mean(names[0], providers)}",
            hint=f"Known: {', '.join(providers)}. If it was a key, replace it with a new one: a key is never an "
            "argument, po keys set PROVIDER asks for it.",
        )
    return name


def _read_key() -> str:
    """The key on stdin."""
    text = base.read_stdin(100_000)
    if not text.strip():
        raise InvalidInput("nothing came from stdin", hint="For example: po keys set openai --stdin < key.txt")
    return text.strip()


def _prompt_for_key(provider: str) -> str:
    """The key that a person types, unseen: in a terminal, or in the input field of a notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would show what is typed
        try:
            key = getpass.getpass(f"key of {provider} (not shown): ")
        except (KeyboardInterrupt, EOFError):
            raise click.Abort from None
        except Exception as error:  # no terminal; or a frontend without input, whose error is its own
            raise InvalidInput(
                f"nobody can be asked for the key here ({type(error).__name__})",
                hint=f"In a terminal: po keys set {provider}. In a script: po keys set {provider} --stdin < FILE",
            ) from None
    if not key.strip():
        raise InvalidInput("no key was given; nothing was changed")
    return key.strip()


def _print_keys(as_json: bool) -> int:
    states = base.connect(start=False).keys()
    if as_json:
        base.print_json(states)
        return 0
    rows = [
        [
            state["provider"],
            state["masked"] or ("none" if state["needed"] else "none needed"),
            _SOURCES.get(state["source"], ""),
            state["variable"],
            state["base_url"],
        ]
        for state in states
    ]
    base.print_table(["provider", "key", "from", "variable", "goes to"], rows)
    for state in states:
        if state["note"]:
            base.print_line(f"{state['provider']}: {base.plain(state['note'])}")
    return 0
