"""Conditions on rows: what holds, what is missing, and what is refused."""

from contextlib import suppress
from typing import Any

import pytest

from po_jupyter.client.reviews.condition import RowCondition
from po_jupyter.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "cells", "holds"),
    [
        ("not ok or confidence < 0.7", {"ok": True, "confidence": 0.6}, True),
        ("not ok or confidence < 0.7", {"ok": True, "confidence": 0.7}, False),
        ("not ok or confidence < 0.7", {"ok": False}, True),
        ("confidence < 0.7 or not ok", {"ok": False}, True),
        ("confidence < 0.7", {"ok": True, "confidence": None}, False),
        ("confidence > 0.7", {"ok": False}, False),
        ("cost > 1", {"cost": None}, False),
        ("label == 'bug'", {}, False),
        ("label != 'bug'", {}, False),
        ("label in ['bug', 'praise'] and ok", {"ok": True, "label": "praise"}, True),
        ("output.deep.er == 1", {"output": {"deep": {"er": 1}}}, True),
        ("output.deep.er == 1", {"output": None}, False),
        ("error is defined", {"error": "x"}, True),
        ("error is none", {"error": None}, True),
        ("error is not none", {"error": None}, False),
        ("error is none", {"error": "x"}, False),
    ],
)
def test_a_value_that_a_row_does_not_have_compares_as_false(
    text: str, cells: dict[str, Any], holds: bool
) -> None:
    assert RowCondition(text).holds(cells) is holds


@pytest.mark.parametrize("text", ["not", "a b", "{{ ok }}", "ok }} {{ ok", "", "x = 1"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not an expression"):
        RowCondition(text)


def test_a_misspelt_name_is_an_error_that_names_the_columns() -> None:
    with pytest.raises(InvalidInput, match="did you mean") as error:
        RowCondition("confidense < 1").check_names({"ok", "confidence"})
    assert "confidence, ok" in error.value.hint


def test_what_cannot_be_compared_names_the_row() -> None:
    with pytest.raises(InvalidInput, match="cannot be asked of row 3"):
        RowCondition("label < 1").holds({"index": 3, "label": "bug"})


@pytest.mark.parametrize(
    "text", ["ok.__class__.__mro__", "''.__class__.__subclasses__()", "output.__init__.__globals__"]
)
def test_a_condition_reaches_nothing_but_the_row(text: str) -> None:
    with suppress(InvalidInput):
        assert RowCondition(text).holds({"ok": True, "output": {}}) is False
