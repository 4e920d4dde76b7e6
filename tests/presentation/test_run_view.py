"""What a run looks like: the sketch of DESIGN section 8, and nothing of a model's text as HTML (P6)."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import bleach
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ItemCounts, TaskView
from po_jupyter.presentation import format as fmt
from po_jupyter.presentation.live_texts import ShownText
from po_jupyter.presentation.run_view import Picture, table_html, table_text, to_html, to_text
from tests.support.runs import run_view

NOW = fmt.timestamp("2026-11-22T12:00:41.500Z")
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"


TASKS = (
    TaskView(
        name="extract",
        state="done",
        kind="python",
        started_at="2026-11-22T12:00:00.100Z",
        ended_at="2026-11-22T12:00:12.200Z",
    ),
    TaskView(
        name="classify",
        state="running",
        stage="inference",
        started_at="2026-11-22T12:00:12.200Z",
        items=ItemCounts(total=1000, done=409, failed=3, in_flight=16),
        usage=Usage(input_tokens=18_000, output_tokens=204, cost=0.041, calls=412),
        waiting="waiting 8 s for openai (requests per minute)",
    ),
    TaskView(name="publish"),
)


class Seen(HTMLParser):
    """Which elements and attributes a browser would find, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.classes: set[str] = set()
        self.root_classes: set[str] = set()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        classes = {word for name, value in attrs if name == "class" for word in (value or "").split()}
        self.classes |= classes
        if not self.open:
            self.root_classes |= classes
        self.open.append(tag)
        self.separate(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.separate(tag)

    def separate(self, tag: str) -> None:
        if tag != "span":  # within a line
            self.texts.append(" ")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def harmless(self) -> bool:
        return self.tags <= ALLOWED and self.attributes <= {"style", "class"} and self.classes <= NO_MATH

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


NO_MATH = {"mathjax_ignore", "tex2jax_ignore"}
ALLOWED = {"div", "span", "b", "table", "thead", "tbody", "tr", "td", "th", "code"}


def test_the_plain_text_is_the_sketch() -> None:
    run = run_view(tasks=TASKS, usage=TASKS[1].usage, budget={"usd": 2.0})
    live_text = ShownText("classify", 413, '{"label": "bug", "reason": "the export')
    assert to_text(Picture(run, NOW, live_text)).splitlines() == [
        "tickets 1.0.0 · run 7f3a9c · running · task 2 of 3 · 00:41 · 18.2k tokens · $0.041 of $2.00",
        " ✓ extract   done       12.1 s · python",
        " ▸ classify  inference  412/1000 rows · 3 failed · 16 in flight · 00:29 · 18.2k tokens · $0.041"
        "   ███████░░░░░░░░░ 41 %",
        "             waiting 8 s for openai (requests per minute)",
        " ○ publish   pending",
        ' row 413 │ {"label": "bug", "reason": "the export',
        "classify failed on 3 of 1000 rows",
    ]


def test_html_and_text_say_the_same_words() -> None:
    """G8: the cell and its fallback never disagree."""
    error = {
        "code": "output_invalid",
        "message": 'answer has no "label" (asked 3 times)',
        "hint": "Look at the rows.",
    }
    run = run_view(
        state="failed",
        tasks=(*TASKS[:1], TaskView(name="label", state="failed", stage="validate_structure", error=error)),
        error=error,
        usage=Usage(calls=3, cost=None, input_tokens=7),
    )
    picture = Picture(run, NOW, results=[("extract", '{"title": "x"}')], notice="not connected")
    said = Seen(to_html(picture)).text
    for word in to_text(picture).replace("→", " ").replace("·", " ").split():
        assert word in said
    assert "cost unknown" in said
    assert "%po resume 7f3a9c" in said


def test_the_streamed_text_ends_with_the_run() -> None:
    live_text = ShownText("classify", None, "half an ans")
    assert "half an ans" in to_text(Picture(run_view(), NOW, live_text))
    assert "half an ans" not in to_text(Picture(run_view(state="cancelled"), NOW, live_text))
    assert "half an ans" not in to_html(Picture(run_view(state="cancelled"), NOW, live_text))


def test_a_gate_says_what_it_waits_for_and_how_to_decide() -> None:
    run = run_view(
        state="waiting", gate={"task": "draft", "message": "Look before we send", "artifacts": ["draft.md"]}
    )
    text = to_text(Picture(run, NOW))
    assert "draft is done and waits for a decision: Look before we send (draft.md)" in text
    assert "%po approve 7f3a9c   %po reject 7f3a9c" in text


def test_nothing_from_outside_becomes_html() -> None:
    """P6: names, errors, waits, gates, answers."""
    run = run_view(
        pipeline=EVIL,
        version=EVIL,
        id=EVIL,
        state="waiting",
        gate={"task": EVIL, "message": EVIL, "artifacts": [EVIL]},
        tasks=(
            TaskView(
                name=EVIL, state="running", stage=EVIL, waiting=EVIL, error={"message": EVIL, "hint": EVIL}
            ),
        ),
        error={"message": EVIL + "2", "hint": EVIL},
    )
    seen = Seen(to_html(Picture(run, NOW, ShownText(EVIL, None, EVIL), EVIL, [(EVIL, EVIL)])))
    assert seen.harmless
    seen = Seen(table_html([EVIL], [[EVIL]], EVIL))
    assert seen.harmless


@given(st.text(max_size=200))
def test_any_text_is_only_text(text: str) -> None:
    """P6."""
    seen = Seen(to_html(Picture(run_view(tasks=TASKS), NOW, ShownText("t", 1, text), text, [(text, text)])))
    assert seen.harmless


def test_a_thousand_tasks_are_a_short_view() -> None:
    """What is drawn eight times a second stays small; what matters now is in it."""
    states = ["done"] * 500 + ["running"] + ["failed"] * 2 + ["pending"] * 497
    error = {"message": "x" * 5000}
    tasks = tuple(
        TaskView.model_validate({"name": f"t{i}", "state": s, "error": error if s == "failed" else None})
        for i, s in enumerate(states)
    )
    text = to_text(Picture(run_view(tasks=tasks), NOW))
    for line in ("496 more done", "▸ t500", "✗ t501", "○ t503", "493 more pending"):
        assert line in text
    assert len(text.splitlines()) < 30
    assert len(to_html(Picture(run_view(tasks=tasks), NOW))) < 20_000


def test_a_table_lines_up() -> None:
    assert table_text(["run", "state"], [["7f3a9c", "done"], ["1", "running"]]).splitlines() == [
        "run     state",
        "7f3a9c  done",
        "1       running",
    ]
    assert table_text(["run", "state"], [["日本語", "done"]]).splitlines() == ["run     state", "日本語  done"]


def test_dollars_are_money_and_no_formulas() -> None:
    """`$0.0012 of $0.500` became LaTeX: MathJax 3 (Lab) and 2 (classic, exported HTML) leave these classes alone."""
    run = run_view(state="done", tasks=TASKS[:1], usage=TASKS[1].usage, budget={"usd": 2.0})
    results = [("row 1", "it costs $5, or $10")]
    assert Seen(to_html(Picture(run, NOW, results=results))).root_classes == NO_MATH
    assert Seen(table_html(["cost"], [["$1"], ["$2"]], "$3 to $4")).root_classes == NO_MATH


MAP_FAILED = TaskView(
    name="classify",
    state="done",
    started_at="2026-11-22T12:00:12.200Z",
    ended_at="2026-11-22T12:00:13.200Z",
    items=ItemCounts(total=2, done=0, failed=2, in_flight=0),
)


def test_a_map_without_one_good_row_is_not_green() -> None:
    """DESIGN 9: also where its pipeline lets it go on, and in stores of earlier versions."""
    run = run_view(state="done", tasks=(MAP_FAILED,))
    html = to_html(Picture(run, NOW))
    assert "✓" not in html and "jp-success" not in html
    assert "✗" in html and "jp-error" in html
    one_good = MAP_FAILED.model_copy(update={"items": ItemCounts(total=2, done=1, failed=1, in_flight=0)})
    assert "jp-success" in to_html(Picture(run_view(state="done", tasks=(one_good,)), NOW))


TRACEBACK = (
    '  File "<po_task extract>", line 3, in inference\n    return 1 / n\nZeroDivisionError: division by <zero>'
)


def test_the_lines_of_ones_own_python_are_shown() -> None:
    """The traceback was recorded and never shown."""
    error = {"message": "inference raised", "hint": "", "details": {"traceback": TRACEBACK}}
    run = run_view(
        state="failed", tasks=(TaskView(name="extract", state="failed", kind="python", error=error),)
    )
    text, seen = to_text(Picture(run, NOW)), Seen(to_html(Picture(run, NOW)))
    assert '  │   File "<po_task extract>", line 3, in inference\n  │     return 1 / n\n' in text
    assert "return 1 / n ZeroDivisionError: division by <zero>" in seen.text
    assert seen.harmless


def test_of_a_long_traceback_the_innermost_lines_are_shown() -> None:
    lines = [f"line {n}" for n in range(500)]
    error = {"message": "x", "hint": "", "details": {"traceback": "\n".join(lines)}}
    run = run_view(state="failed", tasks=(TaskView(name="extract", state="failed", error=error),))
    text = to_text(Picture(run, NOW))
    assert "│ line 499" in text and "line 400\n" not in text and "│ …" in text


def test_a_cell_of_several_lines_keeps_the_columns() -> None:
    assert table_text(["a", "b", "c"], [["1", "x\nyy", "z"], ["2", "", "w"]]) == (
        "a  b   c\n1  x   z\n   yy\n2      w"
    )


# What GitHub leaves of an output's HTML (github/markup: html-pipeline's SanitizationFilter): no style, no class.
GITHUB = re.findall(
    r"\w+",
    "h1 h2 h3 h4 h5 h6 h7 h8 br b i strong em a pre code img tt div ins del sup sub p ol ul table thead tbody tfoot "
    "blockquote dl dt dd kbd q samp var hr ruby rt rp li tr td th s strike summary details caption figure figcaption "
    "abbr bdo cite dfn mark small span time wbr",
)


def on_github(html: str) -> list[str]:
    """The lines that a reader of the file on GitHub sees; cells of a table apart by " | "."""
    left = bleach.clean(html, tags=GITHUB, attributes={}, strip=True)
    left = re.sub(r"</(td|th)>", " | ", re.sub(r"\s+", " ", left))
    text = re.sub(
        r"</?(span|b|i|strong|em|code)>", "", re.sub(r"</?(div|tr|table|p|pre|br|li|ul)>", "\n", left)
    )
    lines = re.sub(r"<[^>]*>", "", text).splitlines()
    return [" ".join(unescape(line).split()).removesuffix("|").strip() for line in lines if line.strip(" |")]


def test_the_file_reads_well_on_github_where_styles_are_stripped() -> None:
    """Issue 10, 2: the truth, of when it is, and no two words that have become one."""
    gate = run_view(
        state="waiting", tasks=TASKS[:1], gate={"task": "extract", "message": "Look before it is sent"},
    )  # fmt: skip
    error = {"message": "the key is wrong", "hint": "Set it."}
    label = TaskView(name="label", state="failed", stage="inference", error=error)
    failed = run_view(state="failed", tasks=(label,), error={"message": "the key is wrong"})
    running = run_view(state="running", tasks=TASKS)
    done = run_view(state="done", tasks=TASKS[:1])
    for run in (gate, failed, running, done):
        results = [("row 0", f"costs $5 {EVIL}")] if run is done else []
        html = to_html(Picture(run, NOW, results=results, kept=True))
        assert "<script" not in html and "<style" not in html, "GitHub would show their text"
        lines = on_github(html)
        assert lines[0].startswith("tickets 1.0.0 · run ")
        assert f"· {fmt.state_icon(run.state)} {run.state}" in lines[0]
        assert lines[-1] == "as of 12:00 UTC, Nov 22, 2026"
        first = run.tasks[0]
        assert any(
            line.startswith(f"{fmt.state_icon(first.state)} | {first.name} | {first.state}") for line in lines
        )
        for line in lines:
            assert "%po" not in line or re.fullmatch(r"(%po \w+ \w{6}( --[\w-]+)*\s*)+", line), line
            assert not re.search(r"\S%po", line), f"two commands are one word: {line}"
    assert any("Look before it is sent" in line for line in on_github(to_html(Picture(gate, NOW))))
    said = on_github(to_html(Picture(failed, NOW)))
    assert "label failed in inference: the key is wrong" in said
    assert "Set it." in said
    answers = on_github(to_html(Picture(done, NOW, results=[("row 0", f"costs $5 {EVIL}")])))
    assert any(line.startswith("row 0 | costs $5 <script>") for line in answers)
