"""B9, B15, G7 in the terminal: a project from `po init` to `po clean`, with a real orchestrator."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_real_commands import Terminal

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal in the folder of a project; nothing in its environment says where the data are."""
    home = tmp_path_factory.mktemp("project")
    terminal = Terminal(home, {"PO_INBOX_STABLE": "0.05"})
    del terminal.environ["PO_DATA_DIR"]
    yield terminal
    terminal("stop")


def until(path: Path, patience: float = 30.0) -> Path:
    end = time.monotonic() + patience
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.05)
    return path


def test_a_project_from_its_beginning_to_its_cleaning(sh: Terminal) -> None:
    """B9, B10, B15, G7, R2.1: init, start, drop a seed, look, export, audit, clean."""
    made: Any = sh.json("init")
    assert made["made"] == [
        "pipelines/hello.yaml",
        "hello-seed.json",
        "pipeline-data/po.yaml",
        "pipeline-data/.gitignore",
    ]
    assert "it was one already" in sh("init")
    (sh.home / "pipelines" / "hello.yaml").write_text(
        "name: hello\ntasks:\n  - {name: greet, prompt: 'Greet {{ seed.who }}', llm: 'fake:echo'}\n"
    )
    data = sh.home / "pipeline-data"
    below = sh.home / "notes"
    below.mkdir()
    config: Any = json.loads(Terminal.__call__(_at(sh, below), "config", "--json"))
    assert config["data_dir"] == {"value": str(data), "source": str(data / "po.yaml")}
    assert config["inbox_dir"]["value"] == str(data)

    assert sh.json("start") is not None
    shutil.copy(sh.home / "hello-seed.json", data / "pending")
    (done,) = until(data / "complete").iterdir() if any((data / "complete").iterdir()) else (until_one(data),)
    until(done / "result.json")
    assert json.loads((done / "result.json").read_text())["state"] == "done"
    (view,) = _list(sh.json("runs"))
    assert (view["name"], view["state"], view["id"]) == ("A first greeting", "done", done.name)
    outputs: Any = sh("show", view["id"][-6:], "--output", "greet")
    assert "Greet the reader of this file" in outputs

    (data / "pending" / "bad-seed.json").write_text('{"name": "x", "data": {}, "pipeline": "helo"}')
    reason = json.loads(until(data / "rejected" / "bad-seed.json.reason.json").read_text())
    assert "did you mean `hello`?" in reason["error"]["message"]

    assert sh.json("runs", "--export", "runs.jsonl") == {"file": "runs.jsonl", "runs": 1}
    (line,) = (sh.home / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == view["id"]
    assert "error: 'running' has not ended" in sh("runs", "--export", "x.jsonl", "--state", "running", code=2)
    assert not (sh.home / "x.jsonl").exists()

    usage: Any = sh.json("usage")
    assert usage["disk"]["runs"]["states"]["done"]["runs"] == 1
    assert usage["total"]["calls"] == 1
    said = str(sh("usage", "--days", "3", "--by-model"))
    assert "fake:echo" in said
    assert "done   1" in said
    assert "0 runs would be deleted" in sh("clean", "--dry-run")
    assert "1 run would be deleted" in sh("clean", "--dry-run", "--older-than", "0")
    assert "1 run deleted" in sh("clean", "--older-than", "0")
    assert _list(sh.json("runs")) == []
    assert "cache " in sh("usage")
    assert "1 cached answer would be forgotten" in sh("clean", "--cache", "--dry-run")
    forgotten: Any = sh.json("clean", "--cache")
    assert forgotten["cache"]["answers"] == 1
    assert "0 cached answers forgotten" in sh("clean", "--cache")
    kept: Any = sh.json("usage")
    assert kept["days"] == usage["days"], "what was spent stays"
    said: Any = sh.json("audit")
    cache, runs = ["clean"] * 3, ["clean", "delete_run", "clean", "clean"]
    assert [e["action"] for e in said] == [*cache, *runs, "reject_seed", "submit"]
    assert "reject_seed" in sh("audit", "--limit", "10")


def _at(sh: Terminal, folder: Path) -> Terminal:
    other = Terminal(folder, {})
    other.environ = dict(sh.environ)
    return other


def until_one(data: Path) -> Path:
    end = time.monotonic() + 30
    while not (found := list((data / "complete").iterdir())):
        rejected = [p.read_text() for p in (data / "rejected").glob("*.reason.json")]
        assert time.monotonic() < end, f"no run ended; rejected: {rejected}"
        time.sleep(0.05)
    return found[0]


def _list(value: Any) -> list[dict[str, Any]]:
    return list(value)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("clean", "--older-than", "soon"), "'soon' is not an age: write 12h, 30d, 2w or 1y"),
        (("clean", "--older-than", "-3d"), "-3d"),
        (("clean", "--older-than", "9999y"), "is not an age"),
        (("clean", "--state", "done"), "--state needs --older-than"),
        (("clean", "--cache", "--older-than", "1d"), "--cache is about answers"),
        (("run", "x.yaml", "--cache", "off"), "'off' is not one of 'false', 'refresh'"),
        (("clean", "--state", "running", "--older-than", "1d"), "'running' is not one of"),
        (("audit", "--limit", "0"), "0 is not in the range"),
        (("usage", "--days", "0"), "0 is not in the range"),
        (("usage", "--days", "week"), "'week' is not a valid integer"),
        (("init", "/dev/null/x"), "cannot be made"),
        (("runs", "--exprot", "x"), "No such option"),
    ],
)
def test_a_wrong_command_line_has_one_clear_answer(po: Any, args: tuple[str, ...], said: str) -> None:
    """R1.4."""
    code, out, err = po(*args)
    assert code == 2
    assert out == ""
    assert said in err


def test_init_leaves_a_persons_files_alone(po: Any, tmp_path: Path) -> None:
    """P11: pipelines that are there already are not joined by an example."""
    (tmp_path / "p" / "pipelines").mkdir(parents=True)
    (tmp_path / "p" / "pipelines" / "mine.yaml").write_text("mine")
    code, out, _ = po("init", str(tmp_path / "p"), "--json")
    assert code == 0
    assert json.loads(out)["made"] == ["pipeline-data/po.yaml", "pipeline-data/.gitignore"]
    assert not (tmp_path / "p" / "hello-seed.json").exists()
