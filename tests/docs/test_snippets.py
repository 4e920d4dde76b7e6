"""Every snippet of the README and of the documentation runs as it is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import po_jupyter as po
from po_jupyter.testing.model_server import ModelServer
from tests.docs.snippets import PAGES, PageRunner, Snippet, name_of, page_environ, snippets_of
from tests.support.paths import ROOT
from tests.support.start_mode import forget_environment

LANGUAGES = {"python", "ipython", "yaml", "bash", "console", "toml", "text"}


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A shell's environment with an orchestrator that lives as long as this module."""
    with ModelServer() as model:
        data = tmp_path_factory.mktemp("po")
        yield page_environ(data, model.base_url, model.root_url, model.key)


@pytest.fixture(scope="module")
def client(environ: dict[str, str]) -> Iterator[po.Client]:
    with pytest.MonkeyPatch.context() as patch:
        forget_environment(patch, "PO_", "JPY_", "JUPYTERHUB_")
        for name, value in environ.items():
            patch.setenv(name, value)
        client = po.connect()
        yield client
        client.close()
        from po_jupyter.cli.main import run

        run(["stop"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [p for p in PAGES if snippets_of(p)], ids=name_of)
@pytest.mark.acceptance
def test_every_snippet_of_the_page_runs(
    page: Path, client: po.Client, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as the folder of a notebook is
    runner = PageRunner(tmp_path, dict(environ), client)
    try:
        for snippet in snippets_of(page):
            if not snippet.notes("not run"):
                _run(runner, snippet)
    finally:
        runner.close()


def _run(runner: PageRunner, snippet: Snippet) -> None:
    try:
        runner.run(snippet)
    except BaseException as error:
        error.add_note(f"in the snippet {snippet}:\n{snippet.code}")
        raise


def test_every_snippet_says_its_language() -> None:
    """What has no language, or one that nobody runs, would be a snippet that no test looks at."""
    strange = [str(s) for page in PAGES for s in snippets_of(page) if s.language not in LANGUAGES]
    assert strange == []


def test_few_snippets_are_not_run_and_each_says_why() -> None:
    reasons = {str(s): s.notes("not run") for page in PAGES for s in snippets_of(page) if s.notes("not run")}
    assert all(reason and len(reason[0]) > 10 for reason in reasons.values())
    # What other programs read (a hub, a cluster) is no command: tests/hub/real and test_deployment.py look at it.
    commands = {
        s.code for page in PAGES for s in snippets_of(page) if s.notes("not run") and s.language == "bash"
    }
    # No test has a container, a cluster or root: what such commands name is checked by test_deployment.py.
    commands -= {code for code in commands if code.startswith(("docker ", "kubectl ", "sudo "))}
    assert len(commands) <= 11, f"each one more is a promise that nothing keeps: {reasons}"


def test_every_comment_of_a_snippet_is_understood() -> None:
    words = {"not run", "file", "before", "beside", "stays", "tasks", "exit", "check", "after"}
    used = {kind for page in PAGES for s in snippets_of(page) for kind, _ in s.comments}
    assert used <= words
    stray = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in PAGES
        for line in page.read_text("utf-8").splitlines()
        if line.startswith("<!-- ") and line.split()[1].rstrip(":") in {w.split()[0] for w in words}
        and not any(line.endswith(f"{kind}: {text} -->") for s in snippets_of(page) for kind, text in s.comments)
    ]  # fmt: skip
    assert stray == []
