"""The contracts of the house (import-linter, in pyproject.toml) can fail: each is shown an import that it forbids."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.integration

# contract id: (module that gets it, an import that the contract forbids)
FORBIDDEN: dict[str, tuple[str, str]] = {
    "floors": ("model/run/seed.py", "import po_jupyter.config.settings"),
    "circles": ("store/json_codec.py", "import po_jupyter.store.group_commit"),
    "client": ("client/paging.py", "import po_jupyter.store.protocol"),
    "client_layers": ("client/http/sse.py", "import po_jupyter.client.discovery"),
    "faces": ("cli/verbs/files.py", "import po_jupyter.engine.state.fold"),
    "hub": ("hub/calls.py", "import po_jupyter.engine.state.fold"),
    "hub_runs": ("hub_runs/roles.py", "import po_jupyter.store.protocol"),
    "testing": ("engine/base/threads.py", "import po_jupyter.testing.model_server"),
    "run_is_the_roof": ("orchestrator/doctor.py", "import po_jupyter.engine.run.session"),
    "llm_wire": ("orchestrator/inbox/archive.py", "import po_jupyter.llm.wire.http"),
    "worker": ("orchestrator/inbox/folder.py", "import po_jupyter.worker.main"),
    "zygote": ("server/activity.py", "import po_jupyter.worker.zygote"),
    "llm_layers": ("llm/money/pricing.py", "import po_jupyter.llm.providers.registry"),
    "vendors_apart": (
        "llm/providers/gemini/generate_content.py",
        "import po_jupyter.llm.providers.anthropic.messages",
    ),
    "engine_layers": ("engine/state/decide.py", "import po_jupyter.engine.replay.history"),
    "store_layers": ("store/files/tree.py", "import po_jupyter.store.keyed.documents"),
    "model_layers": ("model/pipeline/task.py", "import po_jupyter.model.run.usage"),
    "pure": ("engine/state/fold.py", "import structlog"),
    "orchestrator_layers": (
        "orchestrator/views/queries.py",
        "import po_jupyter.orchestrator.control.run_control",
    ),
    "brokers_layers": ("distributed/brokers/protocol.py", "import po_jupyter.distributed.brokers.opening"),
    "server_layers": ("server/auth.py", "import po_jupyter.server.routing.table"),
    "orchestrator_service": ("orchestrator/inbox/seed_file.py", "import po_jupyter.orchestrator.service"),
    "server_api": ("server/actions/results.py", "import po_jupyter.orchestrator.views.queries"),
}


LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def contracts() -> dict[str, str]:
    """The name of each contract by its id."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {c["id"]: c["name"] for c in configuration["tool"]["importlinter"]["contracts"]}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the package with every forbidden import in it."""
    tree: Path = tmp_path_factory.mktemp("tree")
    shutil.copytree(
        ROOT / "po_jupyter", tree / "po_jupyter",
        ignore=shutil.ignore_patterns("ui", "labextension", "__pycache__", "docs"),
    )  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", tree)
    for module, line in FORBIDDEN.values():
        with (tree / "po_jupyter" / module).open("a") as file:
            file.write(f"\n{line}\n")
    linted = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=tree, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert linted.returncode == 1, linted.stdout + linted.stderr
    return re.sub(r"\s+", " ", linted.stdout)


def test_each_contract_has_an_import_that_it_forbids() -> None:
    assert set(FORBIDDEN) == set(contracts())


@pytest.mark.parametrize("contract", sorted(contracts()))
def test_a_forbidden_import_breaks_the_contract(verdicts: str, contract: str) -> None:
    name = re.sub(r"\s+", " ", contracts()[contract])
    assert f"{name} BROKEN" in verdicts
