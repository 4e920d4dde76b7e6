"""The meter of one rendering: a text or list is bounded before it is made, and all of them together."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2.exceptions import SecurityError

from po_jupyter.engine.prompts import render_meter
from po_jupyter.engine.prompts.render_meter import MAX_RENDERED, MAX_ROWS, RenderContext, TextBuffer, check_size
from po_jupyter.engine.prompts.sandbox import make_sandbox

SANDBOX = make_sandbox()


@pytest.fixture
def context() -> RenderContext:
    made = SANDBOX.from_string("").new_context()
    assert isinstance(made, RenderContext)
    return made


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that the process has at each look: the first is what it starts from."""
    import psutil

    sizes: list[int] = []

    class Process:
        def memory_info(self) -> Any:
            return type("Info", (), {"rss": sizes.pop(0)})

    monkeypatch.setattr(psutil, "Process", Process)
    return sizes


def test_a_text_or_list_that_is_too_long_is_refused_before_it_is_made(context: RenderContext) -> None:
    context.need(MAX_RENDERED)
    context.need_entries(MAX_ROWS)
    with pytest.raises(SecurityError, match=f"a text of {MAX_RENDERED + 1:,} characters"):
        context.need(MAX_RENDERED + 1)
    with pytest.raises(SecurityError, match=f"a list of {MAX_ROWS + 1:,}"):
        context.need_entries(MAX_ROWS + 1)


def test_the_process_is_looked_at_only_when_very_much_was_made(
    context: RenderContext, looks: list[int]
) -> None:
    context.count(render_meter._UNSEEN - 1000)  # a look would find no size
    looks += [10**9, 10**9 + render_meter._GROWTH, 10**9 + render_meter._GROWTH + 1]
    context.count(1000)
    context.count(render_meter._STEP)
    with pytest.raises(SecurityError, match="too much memory"):
        context.count(render_meter._STEP)


def test_contexts_inside_of_one_count_for_it(context: RenderContext, looks: list[int]) -> None:
    inner = context.derived().derived()
    inner.literal([1])
    assert context.has_built
    looks += [0, render_meter._GROWTH + 1]
    inner.count(render_meter._UNSEEN)
    with pytest.raises(SecurityError):
        context.count(render_meter._STEP)


@pytest.mark.parametrize("value", ["x" * 3, [1, 2], (1,), {"a": 1}, 5, None])
def test_a_value_is_handed_on_counted(context: RenderContext, value: Any) -> None:
    assert context.made(value) is value


def test_one_value_in_many_places_is_as_large_as_its_text() -> None:
    """`[x] * 1000` of `[x] * 1000` is small in memory and endless on paper."""
    value: Any = "x" * 1000
    for _ in range(3):
        value = [value] * 100
    with pytest.raises(SecurityError, match=f"more than {MAX_RENDERED:,}"):
        check_size(value)
    check_size([{"a": "x" * 1000}] * 1000)
    with pytest.raises(SecurityError):
        check_size([{"k": "x" * MAX_RENDERED}])


def test_pieces_of_a_text_are_counted_together(context: RenderContext) -> None:
    buffer = TextBuffer(context)
    buffer.extend(["a" * (MAX_RENDERED // 2)] * 2)
    assert len(buffer) == 2
    with pytest.raises(SecurityError):
        buffer.append("a")
