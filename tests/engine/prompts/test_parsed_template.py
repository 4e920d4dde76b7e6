"""Parsed templates: the names of a template's own, found once for each text."""

from __future__ import annotations

import pytest
from jinja2 import TemplateSyntaxError

from po_jupyter.engine.prompts.parsed_template import parsed_template


def test_names_of_its_own_are_told_from_those_of_loops_alone() -> None:
    text = (
        "{% set a = 1 %}{% for x, y in seed %}{% endfor %}{% macro m(b) %}{% set y = 2 %}{% endmacro %}{{ z }}"
    )
    found = parsed_template(text)
    assert found.local == {"a", "x", "y", "b", "m", "loop", "caller", "varargs", "kwargs"}
    assert found.assigned == {"a", "b", "y"}


def test_a_short_text_is_parsed_once() -> None:
    assert parsed_template("{{ seed.once }}") is parsed_template("{{ seed.once }}")
    long = "{{ seed.once }}" + " " * 5000
    assert parsed_template(long) is not parsed_template(long)


def test_an_unknown_filter_is_found() -> None:
    with pytest.raises(TemplateSyntaxError, match="nonsense"):
        parsed_template("{{ seed | nonsense }}")
