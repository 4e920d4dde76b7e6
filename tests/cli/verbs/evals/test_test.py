"""`po test`: what is refused before anything is started. tests/prompt_tests/test_runner.py runs cases with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.cli.main import VERBS, run

CASES = "pipeline: {tasks: [{name: t, prompt: x, llm: 'fake:echo'}]}\ncases: [{name: one}, {name: two}]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_mistakes_are_2_and_say_what_to_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        assert run(["test", *arguments]) == 2
        return capsys.readouterr().err

    assert "there is no po_tests*.yaml" in refused()
    (folder / "po_tests.yaml").write_text("")
    assert "has no cases" in refused()
    (folder / "po_tests.yaml").write_text(CASES)
    assert "no case has 'three' in its name" in refused("-k", "three")
    assert "there is no directory" in refused("--junit", "no/report.xml")
    (folder / "po_tests.recorded.jsonl").write_text("{}\n")
    assert "line 1 of the recorded answers" in refused()
    (folder / "po_tests.yaml").write_text(CASES.replace("fake:echo", "claude-cli:sonnet"))
    assert "answers of claude-cli cannot be recorded" in refused()


def test_a_missing_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "nothing.yaml"]) in (1, 2)
    assert "nothing.yaml" in capsys.readouterr().err


def test_the_help_is_that_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    run(["test", "--help"])
    assert VERBS["test"][1] in capsys.readouterr().out
