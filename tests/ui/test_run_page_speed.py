"""How fast tables are, of 100,000 rows and of 1,000 calls: frames a second while they are scrolled, and memory.

    python -m pytest -m benchmark tests/ui/test_run_page_speed.py -s

Rows and calls are made up in the browser: what is measured is the table, not the server. Beside the frames a second,
which depend on what else the machine does, stands the time that the page's main thread takes for a frame: as measured,
and less what others slow the machine down by, which a piece of work that is always the same tells. With more to do than
it has processors the machine is not judged by its frames.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.jupyter_process import JupyterProcess
from tests.support.lab_process import lab_process
from tests.ui.test_lab_notebook import SECOND, panels
from tests.ui.test_run_page import environment, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page

pytestmark = [pytest.mark.acceptance, pytest.mark.benchmark]

ROWS = 100_000
CALLS = 1_000
FRAMES = 180
FAKE = (
    (
        """
const send = window.fetch;
window.fetch = async (input, init) => {
  const url = new URL(typeof input === "string" ? input : input.url, location.href);
  const ofCalls = /\\/model-calls$/.test(url.pathname);
  if (!ofCalls && !/\\/tasks\\/[^/]+\\/rows$/.test(url.pathname)) {
    return send(input, init);
  }
  const start = Number(url.searchParams.get("start") ?? 0);
  const limit = Number(url.searchParams.get("limit") ?? 100);
  await new Promise(resolve => setTimeout(resolve, 20));
  const rows = Array.from({ length: Math.min(limit, TOTAL - start) }, (_, n) => ({
    index: start + n, state: n % 50 === 7 ? "failed" : "done",
    input: { text: `ticket ${start + n}: ` + "somebody wrote a long text about the export button. ".repeat(8) },
    output: { label: "bug", reason: `because of row ${start + n}` },
    error: n % 50 === 7 ? { code: "x", message: "the answer has no label" } : null,
    attempts: 1 + (n % 3), tokens: 100 + n, cost_usd: 0.0001 * (n % 9), seconds: 0.3 + (n % 5), model: "m", flags: []
  }));
  window.asked = (window.asked ?? 0) + 1;
  if (ofCalls) {
    const calls = Array.from({ length: Math.max(0, Math.min(limit, CALLS - start)) }, (_, n) => ({
      n: start + n, key: `label/${start + n}`, task: "label", row: start + n, attempt: 1, round: 0, kind: "inference",
      state: n % 50 === 7 ? "failed" : "done", model: "openai:gpt-5-mini", started_at: "2026-01-01T00:00:00Z",
      seconds: 0.3 + (n % 5), input_tokens: 100 + n, cached_tokens: 0, output_tokens: 20 + (n % 7), reasoning_tokens: 0,
      cost_usd: 0.0001 * (n % 9), reused: false, cached: n % 3 === 0, batch: false, finish: "stop"
    }));
    return new Response(JSON.stringify({ calls, total: CALLS, next: null }));
  }
  return new Response(JSON.stringify({ rows, total: TOTAL, matching: TOTAL, next: null }));
};
"""
    )
    .replace("TOTAL", str(ROWS))
    .replace("CALLS", str(CALLS))
)
SCROLL = """
async ([step, frames]) => {
  const table = document.querySelector(".po-Table");
  const times = [];
  table.scrollTop = 0;
  let last = performance.now();
  const begin = last;
  for (let frame = 0; frame < frames; frame += 1) {
    table.scrollTop += step;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  times.sort((a, b) => a - b);
  return {
    perSecond: (1000 * frames) / (last - begin),
    slowest20th: times[Math.floor(frames * 0.95)],
    slowest: times[frames - 1],
    row: table.querySelector(".po-Table-body .po-Table-cell")?.textContent,
    at: Math.round(table.scrollTop / 28)
  };
}
"""
# The same work many times: how much longer it takes on the average than when nobody is in its way.
SLOWNESS = """() => {
  const times = Array.from({ length: 300 }, () => {
    const begin = performance.now();
    let sum = 0;
    for (let n = 0; n < 400_000; n += 1) { sum += Math.sqrt(n); }
    return performance.now() - begin + sum * 0;
  });
  const quick = times.toSorted((a, b) => a - b);
  return { quickest: quick[3], sum: times.reduce((a, b) => a + b) };
}"""
MOST_BUSY = 8  # ms of the main thread for a frame
HEAP = "() => { window.gc?.(); return performance.memory.usedJSHeapSize / 1e6 }"


def busy(session: CDPSession) -> float:
    """Seconds that the page's main thread has worked so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def slowness(page: Page, session: CDPSession) -> float:
    """How much processor time a thread needs now for what would be 1 if it was alone."""
    worked = busy(session)
    found = page.evaluate(SLOWNESS)
    return max(1.0, (busy(session) - worked) * 1000 / (300 * found["quickest"]))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    with ModelServer() as model:
        server = lab_process(tmp_path_factory.mktemp("lab"), panel, environment(model))
        yield server
        server.stop()


@pytest.fixture(scope="module")
def run(lab: JupyterProcess) -> str:
    """A run of one row, whose table is made up."""
    task = {"name": "label", "prompt": "{{ item }}", "for_each": "{{ seed.rows }}"}
    body = {
        "pipeline": {"name": "big", "llm": {"model": "fake:echo"}, "tasks": [task]},
        "seed": {"name": "big", "data": {"rows": ["a"]}},
    }
    with lab.http() as http:
        run = str(http.post("runs", json=body).json()["run"]["id"])
        http.get(f"runs/{run}/events", headers={"Accept": "text/event-stream"}, timeout=60)
    return run


def scrolled(
    lab: JupyterProcess, browser: Browser, run: str, tab: str, words: str, steps: dict[str, int]
) -> None:
    """Scroll a tab's table in steps of so many pixels: over 50 frames a second, no memory for what was seen."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.add_init_script(FAKE)
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.shell", timeout=60 * SECOND)
    page.evaluate("() => window.jupyterapp.restored")
    shown = open_page(page, run, tab=tab)
    shown.get_by_text(words).wait_for(timeout=20 * SECOND)
    page.evaluate(SCROLL, [60, 60])  # warm
    before = page.evaluate(HEAP)
    figures = {}
    quiet = os.getloadavg()[0] < (os.cpu_count() or 1)  # else the figures are those of the other processes
    session = page.context.new_cdp_session(page)
    session.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    session.send("Performance.enable")
    for name, step in steps.items():
        worked = busy(session)
        figures[name] = page.evaluate(SCROLL, [step, FRAMES])
        figures[name]["busy"] = (busy(session) - worked) / FRAMES * 1000
        figures[name]["own"] = figures[name]["busy"] / slowness(page, session)
    page.wait_for_timeout(1000)
    after = page.evaluate(HEAP)
    nodes = page.evaluate("() => document.querySelectorAll('.po-RunPage *').length")
    for name, found in figures.items():
        print(
            f"{tab}, {name}: {found['perSecond']:.0f} frames/s, 95 % below {found['slowest20th']:.0f} ms, "
            f"{found['busy']:.1f} ms of the main thread a frame, {found['own']:.1f} without what slows it down"
        )
    asked = page.evaluate("window.asked")
    print(f"heap {before:.1f} MB before, {after:.1f} MB after; {nodes} elements; {asked} pages")
    page.close()
    for name, found in figures.items():
        assert found["own"] < MOST_BUSY, (name, found)
        if quiet:
            assert found["perSecond"] > 50, (name, found)
    assert after - before < 50
    assert nodes < 1500


def test_scrolling_a_hundred_thousand_rows_is_smooth(lab: JupyterProcess, browser: Browser, run: str) -> None:
    """Issue 10, 3: over 50 frames a second, and memory that does not grow with what was seen."""
    steps = {"reading": 12, "wheel": 120, "flinging": 1500, "dragging": 15_000}
    scrolled(lab, browser, run, "rows", "100,000 rows", steps)


def test_scrolling_a_thousand_calls_is_smooth(lab: JupyterProcess, browser: Browser, run: str) -> None:
    """Issue 10, 3: as the rows."""
    scrolled(lab, browser, run, "calls", "1,000 calls", {"reading": 12, "wheel": 120, "flinging": 1500})
