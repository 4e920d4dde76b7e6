"""`po demo`: rows that every machine has, a table of what came of them, and an honest exit code."""

from __future__ import annotations

import json
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.cli.verbs import demo
from tests.support.cli import FakeClient, FakeRun, make_view


class DemoRun(FakeRun):
    """The run of the demo, with these rows."""

    rows: list[dict[str, Any]]

    def items(self, task: str, state: str | None = None) -> list[dict[str, Any]]:
        return self.rows

    def artifacts(self) -> list[dict[str, Any]]:
        return [{"name": "packages.md", "path": "/on/another/machine/packages.md"}]


GOOD = {"index": 0, "ok": True, "output": {"purpose": "Checks\ndata\x1b[2J", "topic": "data"}, "error": None}
BAD = {"index": 1, "ok": False, "output": None, "error": {"message": "no label"}}


@pytest.fixture
def run(client: FakeClient) -> DemoRun:
    made = DemoRun([make_view("running"), make_view("done")])
    made.rows = [GOOD, BAD]
    client.runs_there = [made]
    return made


def test_each_package_is_a_line_with_what_came_of_it(po: Any, run: DemoRun, client: FakeClient) -> None:
    code, out, _ = po("demo", "--model", "openai:x", "--rows", "2")
    assert code == 0
    assert "2 installed packages, labelled by openai:x" in out
    (good,) = [line for line in out.splitlines() if "Checks data" in line]
    assert good.split()[0] == demo.packages(2)[0]["name"]
    assert "failed: no label" in out
    assert "1 of 2 rows done" in out
    assert f"po show {run.short}" in out
    assert "\x1b[2J" not in out, "P6"
    assert "another/machine" not in out, "a file that is not here is not shown"
    assert "135M" not in out, "that is about the local model"


def test_it_asks_the_model_that_was_named_anew_about_real_packages(
    po: Any, run: DemoRun, client: FakeClient
) -> None:
    po("demo", "--model", "openai:x", "--rows", "3")
    [(pipeline, seed, options)] = client.submitted
    assert pipeline.llm.model == "openai:x"
    assert len(seed["rows"]) == 3
    assert options["fresh"] is True


def test_no_good_row_is_a_failure(po: Any, run: DemoRun) -> None:
    """Exit 0 only for a run that is done with at least one row."""
    run.rows = [BAD]
    assert po("demo", "--model", "openai:x")[0] == 1
    run.updates[-1] = make_view("failed")
    run.rows = [GOOD]
    assert po("demo", "--model", "openai:x")[0] == 1


def test_an_interrupt_leaves_the_run_and_prints_no_table(po: Any, run: DemoRun) -> None:
    run.updates = [make_view("running"), KeyboardInterrupt()]
    code, out, _ = po("demo", "--model", "openai:x")
    assert code == 130
    assert "rows done" not in out


def test_json_for_scripts(po: Any, run: DemoRun) -> None:
    data = json.loads(po("demo", "--model", "openai:x", "--json")[1])
    assert [item["ok"] for item in data["items"]] == [True, False]
    assert data["run"]["id"] == run.id
    assert data["seconds"] >= 0


def test_without_the_local_model_it_says_what_to_install_and_starts_nothing(
    po: Any, run: DemoRun, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11: it is the first thing that many people type."""
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    code, _, err = po("demo")
    assert code != 0
    assert 'pip install "po_jupyter[local]"' in err
    assert client.started == []


class Package:
    """An installed package, perhaps a broken one."""

    def __init__(self, name: str, summary: str = "It does things", **fields: str) -> None:
        self._fields = {"Name": name, "Summary": summary, "Version": "1.0", **fields}

    @property
    def metadata(self) -> dict[str, str]:
        if "broken" in self._fields["Name"]:
            raise OSError("half of an installation")
        return self._fields


def test_rows_are_the_well_known_packages_first_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"pydantic": Package("pydantic"), "httpx": Package("httpx", Description="x" * 5000)}

    def distribution(name: str) -> Any:
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    others = [
        Package("zzz"),
        Package("broken"),
        Package("silent", summary=""),
        Package("HTTPX"),
        Package("Aaa"),
    ]
    monkeypatch.setattr(demo, "metadata", SimpleNamespace(
        distribution=distribution, distributions=lambda: others, PackageNotFoundError=metadata.PackageNotFoundError,
    ))  # fmt: skip
    rows = demo.packages(10)
    assert [row["name"] for row in rows] == ["pydantic", "httpx", "Aaa", "zzz"]
    assert len(rows[1]["description"]) == 1500
    assert rows[0]["description"] == "It does things", "a package without one says its summary"
    assert [row["name"] for row in demo.packages(1)] == ["pydantic"]
