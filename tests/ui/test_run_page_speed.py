"""How fast the table of rows is with 100,000 of them: frames a second while it is scrolled, and memory.

    python -m pytest -m benchmark tests/ui/test_run_page_speed.py -s

The rows are made up in the browser: what is measured is the table, not the server. Beside the frames a second, which
depend on what else the machine does, stands the time that the page's main thread takes for a frame. With
more to do than it has processors the machine is not judged by its frames.
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
    from playwright.sync_api import Browser, CDPSession

pytestmark = [pytest.mark.acceptance, pytest.mark.benchmark]

ROWS = 100_000
FRAMES = 180
FAKE = (
    """
const send = window.fetch;
window.fetch = async (input, init) => {
  const url = new URL(typeof input === "string" ? input : input.url, location.href);
  if (!/\\/tasks\\/[^/]+\\/rows$/.test(url.pathname)) {
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
  return new Response(JSON.stringify({ rows, total: TOTAL, matching: TOTAL, next: null }));
};
"""
).replace("TOTAL", str(ROWS))
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
HEAP = "() => { window.gc?.(); return performance.memory.usedJSHeapSize / 1e6 }"


def busy(session: CDPSession) -> float:
    """Seconds that the page's main thread has worked so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    with ModelServer() as model:
        server = lab_process(tmp_path_factory.mktemp("lab"), panel, environment(model))
        yield server
        server.stop()


def test_scrolling_a_hundred_thousand_rows_is_smooth(lab: JupyterProcess, browser: Browser) -> None:
    """Issue 10, 3: over 50 frames a second, and memory that does not grow with what was seen."""
    task = {"name": "label", "prompt": "{{ item }}", "for_each": "{{ seed.rows }}"}
    body = {
        "pipeline": {"name": "big", "llm": {"model": "fake:echo"}, "tasks": [task]},
        "seed": {"name": "big", "data": {"rows": ["a"]}},
    }
    with lab.http() as http:
        run = http.post("runs", json=body).json()["run"]["id"]
        http.get(f"runs/{run}/events", headers={"Accept": "text/event-stream"}, timeout=60)
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.add_init_script(FAKE)
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.shell", timeout=60 * SECOND)
    page.evaluate("() => window.jupyterapp.restored")
    shown = open_page(page, run, tab="rows")
    shown.get_by_text("100,000 rows").wait_for(timeout=20 * SECOND)
    page.evaluate(SCROLL, [60, 60])  # warm
    before = page.evaluate(HEAP)
    figures = {}
    quiet = os.getloadavg()[0] < (os.cpu_count() or 1)  # else the figures are those of the other processes
    session = page.context.new_cdp_session(page)
    session.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    session.send("Performance.enable")
    for name, step in (("reading", 12), ("wheel", 120), ("flinging", 1500), ("dragging", 15_000)):
        worked = busy(session)
        figures[name] = page.evaluate(SCROLL, [step, FRAMES])
        figures[name]["busy"] = (busy(session) - worked) / FRAMES * 1000
    page.wait_for_timeout(1000)
    after = page.evaluate(HEAP)
    nodes = page.evaluate("() => document.querySelectorAll('.po-RunPage *').length")
    for name, found in figures.items():
        print(
            f"{name}: {found['perSecond']:.0f} frames/s, 95 % below {found['slowest20th']:.0f} ms, "
            f"{found['busy']:.1f} ms of the main thread a frame"
        )
    print(
        f"heap {before:.1f} MB before, {after:.1f} MB after; {nodes} elements; {page.evaluate('window.asked')} pages"
    )
    page.close()
    for name, found in figures.items():
        if quiet:
            assert found["perSecond"] > 50, (name, found)
    assert after - before < 50
    assert nodes < 1500
