"""Every malformed line gets one clear message that names the argument (P11)."""

from __future__ import annotations

import pytest

from po_jupyter.kernel.arguments import Option, parse
from po_jupyter.kernel.errors import CellError

OPTIONS = {
    "run": Option("flag"),
    "seed": Option("expression", "EXPR"),
    "out": Option("name", "VAR"),
    "model": Option("word", "REF"),
    "budget": Option("money", "USD"),
    "limit": Option("number", "N"),
    "cache": Option("choice", "false|refresh"),
}


def read(line: str) -> tuple[list[str], dict[str, object]]:
    given = parse(line, "%%po_pipeline", ["NAME"], OPTIONS)
    return given.positional, given.options


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("tickets", {}),
        ("tickets --run --seed ticket", {"run": True, "seed": "ticket"}),
        ("""tickets --seed '{"text": "a b"}' --run""", {"seed": '{"text": "a b"}', "run": True}),
        (
            """tickets --seed {"text": "a --run b", 'n': [1, 2]}""",
            {"seed": """{"text": "a --run b", 'n': [1, 2]}"""},
        ),
        ("tickets --seed df.head( 3 ) --out r", {"seed": "df.head( 3 )", "out": "r"}),
        ("tickets --seed [r for r in rows if r] --limit 10", {"seed": "[r for r in rows if r]", "limit": 10}),
        ("tickets --seed a if b else c --run", {"seed": "a if b else c", "run": True}),
        ("""tickets --seed {"a": 'it\\'s'}""", {"seed": """{"a": 'it\\'s'}"""}),
        ("--run tickets", {"run": True}),
        ("tickets --cache false", {"cache": False}),
        ("tickets --cache=refresh", {"cache": "refresh"}),
        ("tickets --seed=x --budget=$2.50", {"seed": "x", "budget": 2.5}),
        ("tickets --model openai:gpt-5-mini", {"model": "openai:gpt-5-mini"}),
        ("tickets --seed 'a' + 'b'", {"seed": "'a' + 'b'"}),
    ],
)
def test_what_can_be_written(line: str, options: dict[str, object]) -> None:
    assert read(line) == (["tickets"], options)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "%%po_pipeline needs NAME"),
        ("tickets --rnu", "has no option `--rnu`; did you mean `--run`?"),
        ("tickets --sed x", "did you mean `--seed`?"),
        ("tickets --seed", "`--seed` needs a Python expression: --seed EXPR"),
        ("tickets --seed --run", "`--seed` needs a Python expression"),
        ("tickets --run=yes", "`--run` takes no value"),
        ("tickets --run --run", "`--run` stands here twice"),
        ("tickets --limit ten", "`--limit` is a whole number from 1 on, not `ten`"),
        ("tickets --limit 0", "from 1 on, not `0`"),
        ("tickets --cache off", "`--cache` is false or refresh, not `off`"),
        ("tickets --budget cheap", "`--budget` is an amount in USD above 0, not `cheap`"),
        ("tickets --budget nan", "above 0, not `nan`"),
        ("tickets --out a.b", "`--out` is the name of a variable, not `a.b`"),
        ("my tickets", "`tickets` is one argument too many (a name has no spaces)"),
        ('tickets --seed {"a": 1', "a } is missing at the end of the line"),
        ("tickets --seed 'abc", "a ' is missing at the end of the line"),
    ],
)
def test_what_cannot(line: str, message: str) -> None:
    with pytest.raises(CellError) as caught:
        read(line)
    assert message in str(caught.value)
    assert str(caught.value).endswith(
        "usage: %%po_pipeline NAME [--run] [--seed EXPR] [--out VAR] [--model REF] [--budget USD] [--limit N] "
        "[--cache false|refresh]"
    )
