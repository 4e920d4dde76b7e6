"""Thoughts in the text of an answer: what a model wrote before it answered is never searched for the answer.

The rule: the answer is what follows the last end of a thought. A thought that never ends takes the rest of the text
with it, and so does a channel of OpenAI's harmony format that is not the final one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

Span: TypeAlias = tuple[int, int]

_NAMES = (
    r"(?:ant|seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch_?pad|analysis|inner_monologue)"
)
_MARK = re.compile(
    # <think>, </Thinking >, [THINK], ◁think▷, <|begin_of_thought|>, <|START_THINKING|>
    rf"(?P<tag>[<\[◁]\s{{0,4}}(?P<end>/?)\s{{0,4}}{_NAMES}(?:\s[^<>]{{0,100}})?\s{{0,4}}[>\]▷])"
    r"|(?P<token><\|(?P<which>begin|start|end)_(?:of_)?think(?:ing)?\|>|<\|(?P<which2>begin|start|end)_of_thought\|>)"
    # <|channel|>analysis<|message|>, <|channel|>final <|constrain|>json<|message|>
    r"|<\|channel\|>\s{0,4}(?P<channel>\w{1,40})[^<]{0,200}(?:<\|constrain\|>[^<]{0,40})?(?:<\|message\|>)?",
    re.IGNORECASE,
)
# A server that drops the special tokens of harmony leaves this of them.
_BARE_CHANNELS = re.compile(r"\A\s*analysis(?=\S).*assistantfinal", re.DOTALL)


class _Mark(NamedTuple):
    end: int
    opens: bool


def end_of_thoughts(text: str, values: Sequence[Span] = ()) -> int:
    """The position behind the last thought in `text`: its length when that thought never ends, 0 without thoughts.

    A mark inside of one of `values`, the places of complete JSON values, is part of a string there.
    """
    last = _Mark(0, False)
    for match in _MARK.finditer(text):
        if not any(start < match.start() < end for start, end in values):
            last = _Mark(match.end(), _opens(match))
    if last.opens:
        return len(text)
    bare = _BARE_CHANNELS.match(text)
    return max(last.end, bare.end() if bare else 0)


def _opens(match: re.Match[str]) -> bool:
    if match["tag"]:
        return not match["end"]
    if match["token"]:
        return (match["which"] or match["which2"]).lower() != "end"
    return match["channel"].lower() != "final"
