"""The pytest plugin: fixtures for tests of pipelines, providers and stores. Installed with the package.

    po_orchestrator    a client of an orchestrator that lives as long as the test
    po_model_server    a server on loopback in the place of every vendor, for the processes that the test starts
    po_fake_provider   a provider without a model, in this process
    po_store           a store in a directory; `po_memory_store`: one in memory
    po_clean_environ   an environment without keys; the first two use it

Files of cases of `po test` (`po_tests*.yaml`, `test_*.po.yaml`) are collected as tests: with recorded answers, or with
`--po-live` asked anew and recorded.

pytest imports this module at its start: the rest of the package is imported by the fixtures, when a test uses one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from po_jupyter.client.client import Client
    from po_jupyter.llm.providers.fake import FakeProvider
    from po_jupyter.store.disk.store import DiskStore
    from po_jupyter.store.keyed.memory import MemoryStore
    from po_jupyter.testing.model_server import ModelServer
    from po_jupyter.testing.prompt_items import CollectedCases

# Variables that lead to an orchestrator, to settings or to keys of the person who runs the tests.
_PERSONAL_PREFIXES = ("JPY_", "JUPYTERHUB_", "PO_JUPYTER_")
_PERSONAL_SUFFIXES = ("_API_KEY", "_BASE_URL")
_PERSONAL_NAMES = ("PO_CONFIG", "JUPYTER_SERVER_URL")


_CASES: pytest.StashKey[CollectedCases] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--po-live`."""
    parser.addoption(
        "--po-live",
        action="store_true",
        help="Ask the models in tests of prompts, for money, and record the answers.",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A file of cases as a file of tests."""
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    from po_jupyter.prompt_tests.file_names import is_case_file

    if not is_case_file(file_path.name):
        return None
    from po_jupyter.testing.prompt_items import CollectedCases, PromptFile

    config = parent.config
    live = bool(config.getoption("--po-live"))
    if live and (hasattr(config, "workerinput") or config.getoption("numprocesses", None)):
        raise pytest.UsageError("--po-live records the answers of one process: leave -n out")
    if _CASES not in config.stash:
        config.stash[_CASES] = CollectedCases(live=live)
    file: PromptFile = PromptFile.from_parent(parent, path=file_path)
    file.cases = config.stash[_CASES]
    return file


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what tests of prompts started."""
    if _CASES in config.stash:
        config.stash[_CASES].close()


@pytest.fixture
def po_clean_environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without keys and without ways to an orchestrator: no test pays by accident.

    Returns the `monkeypatch` of the test, to set variables that the orchestrator shall inherit.
    """
    for name in list(os.environ):
        if name.startswith(_PERSONAL_PREFIXES) or name.endswith(_PERSONAL_SUFFIXES) or name in _PERSONAL_NAMES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setenv("PO_DEFAULT_MODEL", "fake:echo")
    return monkeypatch


@pytest.fixture
def po_model_server(po_clean_environ: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A `ModelServer` that answers for OpenAI, Anthropic and Gemini in the processes that the test starts.

    `enqueue(*replies)` scripts its answers; without one it echoes the prompt, or gives a value that fits the schema.
    `requests` are those that came. The environment names it as the base URL of each vendor, with its key, and the
    default model is `openai:test-model`.
    """
    from po_jupyter.testing.model_server import ModelServer

    with ModelServer() as server:
        po_clean_environ.setenv("PO_DEFAULT_MODEL", "openai:test-model")
        for vendor in ("OPENAI", "ANTHROPIC", "GEMINI"):
            url = server.base_url if vendor == "OPENAI" else server.root_url
            po_clean_environ.setenv(f"{vendor}_BASE_URL", url)
            po_clean_environ.setenv(f"{vendor}_API_KEY", server.key)
        yield server


@pytest.fixture
def po_orchestrator(
    request: pytest.FixtureRequest,
    po_clean_environ: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Client]:
    """A `po.Client` of a headless orchestrator with a data directory of its own, stopped after the test.

    Its default model is `fake:echo`, or with `po_model_server` one of that. `po.connect()`, `po.chat` and commands
    that the test starts use the same orchestrator.
    """
    from po_jupyter.client import headless
    from po_jupyter.client.client import Client

    if "po_model_server" in request.fixturenames:
        request.getfixturevalue("po_model_server")  # first, in whatever order the test names them
    po_clean_environ.setenv("PO_DATA_DIR", str(tmp_path_factory.mktemp("po")))
    process = headless.start()
    try:
        client = Client(process.endpoint)
        yield client
        client.close()
    finally:
        headless.stop(process)


@pytest.fixture
def po_fake_provider() -> FakeProvider:
    """A `FakeProvider` in this process: `enqueue(*replies)` scripts it, else it echoes; `requests` are those it got."""
    from po_jupyter.llm.providers.fake import FakeProvider

    return FakeProvider()


@pytest.fixture
def po_store(tmp_path: Path) -> Iterator[DiskStore]:
    """An empty `DiskStore` in `tmp_path / "po-store"`, closed after the test."""
    from po_jupyter.store.disk.store import DiskStore

    store = DiskStore(tmp_path / "po-store", shards=1)
    yield store
    store.close()


@pytest.fixture
def po_memory_store() -> MemoryStore:
    """An empty `MemoryStore`."""
    from po_jupyter.store.keyed.memory import MemoryStore

    return MemoryStore()
