"""`po review`: what is refused before anything is asked. tests/client/reviews/test_session.py reviews rows with it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from po_jupyter.cli.main import VERBS, po


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agree"], "which --row?"),
        (["--output", "1"], "which --row?"),
        (["--note", "why"], "which --row?"),
        (["--row", "3"], "--row needs --agree or --output"),
        (["--row", "3", "--agree", "--output", "1"], "--row needs --agree or --output"),
        (["--row", "-1", "--agree"], "--row"),
        (["--sample", "0"], "--sample"),
        (["--seed", "x"], "--seed"),
    ],
)
def test_a_line_that_says_nothing_is_a_mistake(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(po, ["review", "7f3a9c", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_the_help_says_how() -> None:
    result = CliRunner().invoke(po, ["review", "--help"])
    assert VERBS["review"][1] in result.output
    assert "not ok or confidence < 0.7" in result.output
