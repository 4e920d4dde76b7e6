"""`po keys`: keys of providers, kept where the orchestrator runs."""

from __future__ import annotations

import getpass
import warnings
from typing import Any

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput

_PLACES = {"environment": "environment", "keyring": "keyring", "file": "file", None: ""}


@click.group(invoke_without_command=True)
@base.JSON
@click.pass_context
def keys(context: click.Context, as_json: bool) -> Any:
    """Keep, list or remove keys of model providers.

    `po keys` lists them. A key is asked for without showing it, or read from stdin; never an argument.
    """
    return _list(as_json) if context.invoked_subcommand is None else None


@keys.command("list")
@base.JSON
def keys_list(as_json: bool) -> int:
    """List the keys, masked, where they come from and whom they go to."""
    return _list(as_json)


@keys.command("set")
@click.argument("words", metavar="PROVIDER", nargs=-1, type=click.UNPROCESSED)
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the key from stdin, for scripts.")
@base.JSON
def keys_set(words: tuple[str, ...], from_stdin: bool, as_json: bool) -> int:
    """Keep a provider's key; it is asked for, and not shown.

    \b
    po keys set openai
    po keys set openai --stdin < key.txt
    """
    provider = _provider(words)
    key = _from_stdin() if from_stdin else _asked(provider)
    state = base.connect(start=True).set_key(provider, key)
    if as_json:
        base.dump(state)
        return 0
    if state["note"]:
        base.say(f"the key of {provider} is kept, but {base.clean(state['note'])}")
    else:
        where = "the system's keyring" if state["source"] == "keyring" else "a file that only you can read"
        base.say(f"{provider}: {state['masked']} is kept in {where}; the next run has it")
    return 0


@keys.command("remove")
@click.argument("words", metavar="PROVIDER", nargs=-1, type=click.UNPROCESSED)
@base.JSON
def keys_remove(words: tuple[str, ...], as_json: bool) -> int:
    """Forget the stored key of a provider."""
    provider = _provider(words)
    base.connect(start=True).remove_key(provider)
    if as_json:
        base.dump({"removed": provider})
    else:
        base.say(f"the stored key of {provider} is removed; runs that have started still have it")
    return 0


def _provider(words: tuple[str, ...]) -> str:
    """The one word that there may be. What else was written may be a key: it is not repeated (P10)."""
    from po_jupyter.llm.specs import specs
    from po_jupyter.model.pipeline.violations import did_you_mean

    known = sorted(name for name, spec in specs().items() if spec.key_env or not spec.base_url)
    if not words:
        raise click.UsageError(f"which provider? One of {', '.join(known)}")
    if len(words) > 1:
        raise InvalidInput(
            "a key is never an argument: it would stay in the history and in the list of processes",
            hint=f"If that was one, replace it with a new one. po keys set {_safe(words[0], known)} asks for it.",
        )
    if words[0] not in known:
        raise InvalidInput(
            f"that is not the name of a provider{did_you_mean(words[0], known)}",
            hint=f"Known: {', '.join(known)}. If it was a key, replace it with a new one: a key is never an "
            "argument, po keys set PROVIDER asks for it.",
        )
    return words[0]


def _safe(word: str, known: list[str]) -> str:
    return word if word in known else "PROVIDER"


def _from_stdin() -> str:
    text = base.read_stdin(100_000)
    if not text.strip():
        raise InvalidInput("nothing came from stdin", hint="For example: po keys set openai --stdin < key.txt")
    return text.strip()


def _asked(provider: str) -> str:
    """What a person types, unseen: in a terminal, or in the input field of a notebook."""
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


def _list(as_json: bool) -> int:
    found = base.connect(start=False).keys()
    if as_json:
        base.dump(found)
        return 0
    rows = [
        [
            state["provider"],
            state["masked"] or ("none" if state["needed"] else "none needed"),
            _PLACES.get(state["source"], ""),
            state["variable"],
            state["base_url"],
        ]
        for state in found
    ]
    base.table(["provider", "key", "from", "variable", "goes to"], rows)
    for state in found:
        if state["note"]:
            base.say(f"{state['provider']}: {base.clean(state['note'])}")
    return 0
