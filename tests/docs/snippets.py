"""The fenced snippets of the README and of `po_jupyter/docs/`, and how each language is run.

Comments behind a snippet say what a page need not show; `po help` and a browser leave them out:

    <!-- not run: REASON -->     it is not run (counted: `test_snippets.py`)
    <!-- file: NAME -->          it is written into a file of the page's folder instead, for a later one to run
    <!-- before: PYTHON -->      run first, in the page's namespace (`client`, `register(...)`, `environ`, ...)
    <!-- beside: PYTHON -->      put before the code of a Python task
    <!-- stays: TEXT -->         it is started, and goes on beside what follows; once it printed TEXT the page goes on
    <!-- tasks: A, B -->         further tasks of the pipeline that a Python task runs in
    <!-- exit: N -->             the exit code of its last command, 0 without
    <!-- check: PYTHON -->       run afterwards: what came of it, as `run`, `output`, or the snippet's own names
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import tomllib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from ruamel.yaml import YAML

import po_jupyter as po
from po_jupyter.config import load
from po_jupyter.model.pipeline.pipeline import STAGES
from po_jupyter.model.run.view import ENDED
from po_jupyter.testing.model_server.batches import BatchServer
from tests.docs.services import PageServices
from tests.support.paths import ROOT
from tests.support.pdf import pdf
from tests.support.sound import sound_url, wav
from tests.support.start_mode import inherited_environment

DOCS = ROOT / "po_jupyter" / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
ROWS = [{"text": "The export button is gone"}, {"text": "I love it"}]
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$((?:\n<!--.*?-->)*)", re.M | re.S)
_COMMENT = re.compile(r"<!-- ([\w ]+): (.*?) -->", re.S)
_STAGE = re.compile(rf"^(?:async )?def (?:{'|'.join(STAGES)})\(ctx\)", re.M)
_SHELL = f"""
po() {{ "{sys.executable}" -m po_jupyter "$@"; }}
python() {{ "{sys.executable}" "$@"; }}
set -e
"""


@dataclass(frozen=True)
class Snippet:
    """One fenced block of a page, with what its comments say."""

    page: str
    line: int
    language: str
    code: str
    comments: tuple[tuple[str, str], ...]

    def notes(self, kind: str) -> list[str]:
        """Every comment of that kind, in order."""
        return [text for name, text in self.comments if name == kind]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


def name_of(page: Path) -> str:
    """How tests call a page: `README`, `guide/gates`."""
    return str(page.relative_to(DOCS) if page.is_relative_to(DOCS) else page.name).removesuffix(".md")


def snippets_of(page: Path) -> list[Snippet]:
    """Every snippet of a page."""
    text = page.read_text("utf-8")
    return [
        Snippet(
            name_of(page),
            text.count("\n", 0, fence.start()) + 1,
            fence[2],
            re.sub(rf"^{fence[1]}", "", fence[3], flags=re.M),
            tuple(_COMMENT.findall(fence[4])),
        )
        for fence in _FENCE.finditer(text)
    ]


class PageRunner:
    """Runs the snippets of one page, in order, in one folder and one namespace."""

    def __init__(self, folder: Path, environ: dict[str, str], client: po.Client) -> None:
        self.folder = folder
        self.environ = environ
        self.client = self._shared_client = client
        self.shell: InteractiveShell | None = None
        self._batches: BatchServer | None = None
        self.pipelines: dict[str, Any] = {}
        self.namespace: dict[str, Any] = {
            "__name__": "page", "po": po, "client": client, "environ": environ, "pipelines": self.pipelines,
            "register": self.register, "shell_run": self.shell_run, "without_key": self.without_key,
            "with_batches": self.with_batches, "wait_for_run": self.wait_for_run, "PNG": PNG,
            "with_services": self.with_services,
        }  # fmt: skip
        self._services = PageServices(environ)
        tickets = next(s.code for s in snippets_of(ROOT / "README.md") if s.language == "yaml")
        self.pipelines["tickets"] = YAML(typ="safe").load(tickets)
        (folder / "tickets.yaml").write_text(tickets)
        (folder / "tickets.csv").write_text("text\n" + "\n".join(row["text"] for row in ROWS))
        (folder / "photo.png").write_bytes(PNG)
        (folder / "key.txt").write_text("test-key")

    # -- what comments may use --------------------------------------------------------------------
    def register(self, name: str) -> None:
        """Register a pipeline of this page, or the README's `tickets`."""
        self.client.register(self.pipelines[name])

    def shell_run(self, text: str, code: int = 0) -> str:
        """Run lines of a shell; what they printed. Fails unless the last one ends with `code`."""
        lines = _SHELL + self._services.replaced(text)
        done = subprocess.run(
            ["bash", "-c", lines], cwd=self.folder, env=self.environ, text=True, timeout=100,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}:\n{done.stdout}"
        return done.stdout

    def without_key(self) -> None:
        """From here on the page's commands have an orchestrator that knows no key of OpenAI."""
        key = self.environ.pop("OPENAI_API_KEY")
        self._own_orchestrator()
        self.environ["OPENAI_API_KEY"] = key

    def with_batches(self) -> None:
        """From here on the page has an orchestrator whose OpenAI has the batch API."""
        self._batches = BatchServer().__enter__()
        self.environ["OPENAI_BASE_URL"] = self._batches.base_url
        self._own_orchestrator()

    def with_services(self, *kinds: str, port: int | None = None) -> None:
        """From here on the page's commands have a database, a broker, a free port in the place of the page's, and no
        orchestrator."""
        for kind in kinds:
            {"database": self._services.start_database, "broker": self._services.start_broker}[kind]()
        if port is not None:
            self._services.use_free_port(port)
        self.environ["PO_DATA_DIR"] = str(self.folder / "data")
        self.environ["HOME"] = str(self.folder)

    def _own_orchestrator(self) -> None:
        self.environ["PO_DATA_DIR"] = str(self.folder / "data")
        self.shell_run("po start")
        endpoint = json.loads(self.shell_run("po token --json"))
        self.client = po.connect(endpoint["url"], endpoint["token"])

    def wait_for_run(self) -> None:
        """Until the page's own orchestrator has a run that is done."""
        until = time.monotonic() + 60
        while json.loads(self.shell_run("po runs --state done --json")) in ([], {"runs": []}):
            assert time.monotonic() < until, self.shell_run("po runs; ls -R pipeline-data")
            time.sleep(0.2)

    # -- running ----------------------------------------------------------------------------------
    def run(self, snippet: Snippet) -> None:
        """Run one snippet. Raises AssertionError, or what it raised, when it does not hold."""
        self._python_lines(snippet, "before")
        try:
            for name in snippet.notes("file"):
                (self.folder / name).write_text(self._services.replaced(snippet.code))
            for text in snippet.notes("stays"):
                code = self._services.replaced(self._with_run(snippet.code))
                self._services.start_program(_SHELL, code, text, self.folder)
            if not (snippet.notes("file") or snippet.notes("stays")):
                self._RUNNERS[snippet.language](self, snippet)
            self._python_lines(snippet, "check")
        finally:
            self._python_lines(snippet, "after")

    def close(self) -> None:
        """Stop an orchestrator that only this page has."""
        if self.environ.get("PO_DATA_DIR", "").startswith(str(self.folder)):
            if self.client is not self._shared_client:
                self.client.close()
            self.shell_run("po stop")
        self._services.close()
        if self._batches is not None:
            self._batches.__exit__(None, None, None)
        if self.shell is not None:
            InteractiveShell.clear_instance()

    def _python_lines(self, snippet: Snippet, kind: str) -> None:
        for line in snippet.notes(kind):
            exec(compile(line, str(snippet), "exec", dont_inherit=True), self.namespace)

    def _python(self, snippet: Snippet) -> None:
        if _STAGE.search(snippet.code):
            self._python_task(snippet)
        else:
            exec(compile(snippet.code, str(snippet), "exec", dont_inherit=True), self.namespace)

    def _python_task(self, snippet: Snippet) -> None:
        source = "\n".join([f"PNG = {PNG!r}", *snippet.notes("beside"), snippet.code])
        more = [name for text in snippet.notes("tasks") for name in text.split(", ")]
        tasks: list[dict[str, Any]] = [{"name": "task", "source": source, "retry": {"max_attempts": 1}}]
        if "analysis" in more:
            tasks.insert(0, {"name": "analysis", "source": "def integration(ctx):\n    return 1\n"})
        tasks += [{"name": name, "prompt": name} for name in more if name != "analysis"]
        self._finished({"name": "page", "tasks": tasks})
        self.namespace["output"] = self.namespace["run"].outputs["task"]

    def _finished(self, definition: dict[str, Any]) -> None:
        """Run a pipeline to its end, or to its gate; `run` is the run."""
        photo = "data:image/png;base64,iVBORw0KGgo="
        invoice = f"data:application/pdf;base64,{b64encode(pdf()).decode()}"
        seed = {"text": "hello", "name": "Ada", "photo": photo, "invoice": invoice, "rows": ROWS}
        seed["recording"] = sound_url(wav())
        run = self.client.submit(definition, seed)
        until = time.monotonic() + 60
        while run.refresh().state not in {*ENDED, "waiting"}:
            assert time.monotonic() < until, run.view
            time.sleep(0.02)
        assert run.state in ("done", "waiting"), run.error
        self.namespace["run"] = run

    def _yaml(self, snippet: Snippet) -> None:
        value = YAML(typ="safe").load(snippet.code)
        if isinstance(value, list):
            value = {"name": "page", "tasks": value}
        if "tasks" not in value:  # settings
            path = self.folder / "po.yaml"
            path.write_text(snippet.code)
            load({}, file=path)
            return
        self.pipelines[value["name"]] = value
        self._finished(value)

    def _ipython(self, snippet: Snippet) -> None:
        if self.shell is None:
            InteractiveShell.clear_instance()
            self.shell = InteractiveShell.instance()
            self.shell.user_ns["rows"] = ROWS
            self.namespace["shell"] = self.shell
        with capture_output() as captured:
            result = self.shell.run_cell(snippet.code, store_history=False)
        assert result.success, f"{result.error_in_exec or result.error_before_exec}\n{captured.stdout}"

    def _bash(self, snippet: Snippet) -> None:
        self.namespace["printed"] = self.shell_run(self._with_run(snippet.code), _exit_code(snippet))

    def _console(self, snippet: Snippet) -> None:
        command, _, shown = snippet.code.partition("\n")
        printed = self.shell_run(self._with_run(command.removeprefix("$ ")), _exit_code(snippet))
        assert _comparable(printed) == _comparable(shown), printed

    def _with_run(self, text: str) -> str:
        run = self.namespace.get("run")
        return re.sub(r"\bRUN\b", run.short, text) if isinstance(run, po.Run) else text

    def _toml(self, snippet: Snippet) -> None:
        tomllib.loads(snippet.code)

    def _text(self, snippet: Snippet) -> None:
        """Nothing to run: what a command prints, a drawing, a signature."""

    _RUNNERS: dict[str, Callable[[PageRunner, Snippet], None]] = {  # noqa: RUF012 - read only
        "python": _python,
        "ipython": _ipython,
        "yaml": _yaml,
        "bash": _bash,
        "console": _console,
        "toml": _toml,
        "text": _text,
    }


def _exit_code(snippet: Snippet) -> int:
    return int((snippet.notes("exit") or ["0"])[0])


def _comparable(text: str) -> list[str]:
    """The lines of a text, numbers and ids put aside."""
    return [
        re.sub(r"\b[0-9a-f]{6}\b|\d+(?:[.,]\d+)*", "#", line).rstrip() for line in text.strip().splitlines()
    ]


def page_environ(data: Path, base_url: str, root_url: str, key: str) -> dict[str, str]:
    """The environment of a page's commands: a data directory of its own, and a server that answers for every model."""
    return inherited_environment("PO_", "JPY_", "JUPYTERHUB_") | {
        "PO_DATA_DIR": str(data),
        "PO_DEFAULT_MODEL": "openai:any-model",
        "PO_BATCH_POLL_MIN": "0.05",
        "PO_BATCH_POLL_MAX": "0.2",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": root_url,
        "ANTHROPIC_API_KEY": key,
        # A price of the list holds at the vendor's own address, which this server is not.
        "PO_PRICES": json.dumps(
            {
                model: {"input": 1, "output": 2}
                for model in ("openai:gpt-5-mini", "openai:gpt-5", "anthropic:claude-haiku-4-5")
            }
        ),
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
    }
