"""Imports without what libraries bring along for terminals."""

import subprocess
import sys

import pytest

from po_jupyter.platform.source_root import SOURCE_ROOT

pytestmark = pytest.mark.integration


def _loaded(code: str, *names: str) -> list[str]:
    """Those of `names` that a fresh interpreter has loaded after `code`."""
    begin = f"import sys; sys.path.insert(0, {SOURCE_ROOT!r})"
    shown = f"{begin}; {code}; print(*[m for m in {names!r} if m in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", shown], check=True, capture_output=True, text=True
    ).stdout.split()


def test_a_client_draws_nothing():
    assert _loaded("import po_jupyter; po_jupyter.connect", "rich", "pygments", "click") == []


def test_a_client_that_passes_a_dict_does_not_load_what_definitions_are_validated_with():
    """The orchestrator validates them: the classes are an eighth of the processor time that a client starts with."""
    code = (
        "import po_jupyter; po_jupyter.connect; import po_jupyter.client.client; "
        "from po_jupyter.client.inputs import control_bodies as c, pipelines as p; "
        "body = p.pipeline_body({'name': 'a', 'tasks': [{'name': 'b', 'prompt': 'c'}]}); "
        "assert not p.has_code(body) and c.budget_body(1) == {'usd': 1.0}"
    )
    assert _loaded(code, "po_jupyter.model.pipeline.pipeline", "po_jupyter.model.pipeline.llm_settings") == []


def test_a_server_of_our_own_has_neither_what_draws_nor_a_grammar_of_addresses():
    """The grammar of `rfc3987_syntax` is 22 MB, and takes a second."""
    assert (
        _loaded("import po_jupyter.server.__main__, po_jupyter.server.extension", "rich", "pygments", "lark")
        == []
    )


def test_a_worker_has_no_yaml_no_httpx_and_no_second_loop():
    code = "from po_jupyter.worker.zygote import preload; preload()"
    assert _loaded(code, "rich", "httpx", "ruamel.yaml", "tenacity", "tornado", "lark") == []


def test_what_was_left_out_can_still_be_imported():
    code = (
        "from po_jupyter.platform import lean_imports as l; l.import_httpx(); l.import_structlog(); import rich"
    )
    assert _loaded(code, "rich", "httpx", "structlog") == ["rich", "httpx", "structlog"]
