"""The line of `%po chat`: a question as people type it, with its apostrophes, and options before or behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from po_jupyter.kernel.arguments import unquoted
from po_jupyter.kernel.errors import CellError
from po_jupyter.model.pipeline.violations import did_you_mean

_OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*(?=[\s=]|$)")
_VALUE = re.compile(r"(?:=|\s+)(\"[^\"]*\"|'[^']*'|\S+)")


def chat_arguments(line: str, options: Mapping[str, bool]) -> list[str]:
    """The arguments of the terminal's `chat` for what stands behind the verb: the options, then the prompt.

    `options` says of each option, `--name`, whether it takes a value. Quotes are the prompt's own, but for one pair
    around the whole of it. Raises CellError for an option that is nearly one.
    """
    arguments: list[str] = []
    prompt, at = "", 0
    while (match := _OPTION.search(line, at)) is not None:
        name, end = match[0], match.end()
        if name not in options:
            if guess := did_you_mean(name, list(options)):
                raise CellError(f"%po chat has no option `{name}`{guess}")
            prompt, at = prompt + line[at:end], end  # a text may have one: git --amend
            continue
        prompt += line[at : match.start()]
        arguments.append(name)
        if options[name] and (value := _VALUE.match(line, end)) is not None:
            arguments.append(unquoted(value[1]))
            end = value.end()
        at = end
    prompt = unquoted((prompt + line[at:]).strip())
    return [*arguments, "--", prompt] if prompt else arguments
