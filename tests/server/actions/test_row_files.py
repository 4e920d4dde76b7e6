"""Large seeds: uploaded once by content, streamed to the disk, read row by row by the worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from po_jupyter.client.client import Client
from po_jupyter.client.http.transport import Endpoint
from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.integration

LIMIT = 8_000_000
PIPELINE = """
name: large
llm: {model: "fake:echo"}
tasks:
  - name: look
    source: |
      def integration(ctx):
          rows = ctx.seed["rows"]
          return {"n": len(rows), "first": rows[0], "last": rows[-1], "kind": type(rows).__name__}
  - name: label
    prompt: "{{ item.i }} of {{ seed.rows | length }}"
    for_each: "{{ seed.rows }}"
    max_concurrency: 50
  - name: sum
    prompt: "{{ seed.rows | map(attribute='i') | sum }} {{ tasks.label | selectattr('ok') | list | length }}"
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(
        tmp_path_factory.mktemp("blobs"),
        orchestrator=None,
        env={"PO_MAX_REQUEST_BYTES": "100000", "PO_MAX_UPLOAD_BYTES": str(LIMIT)},
    )
    yield process
    process.stop()


@pytest.fixture
def http(real: JupyterProcess) -> Iterator[httpx.Client]:
    with real.http() as client:
        yield client


def files(real: JupyterProcess) -> list[Path]:
    return [p for p in (real.data / "blobs").rglob("*") if p.is_file()]


def put(http: httpx.Client, data: bytes, name: str | None = None) -> httpx.Response:
    return http.put(f"blobs/{name or hashlib.sha256(data).hexdigest()}", content=data)


def test_a_large_dataframe_is_a_map(real: JupyterProcess) -> None:
    """G17, DESIGN 7: what is larger than a request may be goes as a file, and the rest does not notice."""
    import pandas as pd

    frame = pd.DataFrame({"i": range(3000), "text": ["word " * 100] * 3000, "none": [float("nan")] * 3000})
    client = Client(Endpoint(real.url, real.token))
    run = client.submit(PIPELINE, frame, limit=20).wait()
    assert run.state == "done", run.error
    seed = run.view.seed["data"]["rows"]
    assert (seed["count"], seed["columns"], len(seed["$rows"])) == (3000, ["i", "text", "none"], 64)
    look = run.outputs["look"]
    assert look == {"n": 3000, "first": {"i": 0, "text": "word " * 100, "none": None},
        "last": {"i": 2999, "text": "word " * 100, "none": None}, "kind": "FileRows"}  # fmt: skip
    assert run.outputs["label"][7]["output"] == "echo: 7 of 3000"
    assert run.outputs["sum"] == f"echo: {sum(range(3000))} 20"
    (file,) = files(real)
    before = file.stat()
    again = client.submit(PIPELINE, frame.copy(), limit=20).wait()
    assert [t.items.reused for t in again.view.tasks if t.items] == [20]
    assert files(real) == [file]
    assert file.stat().st_ino == before.st_ino, "it did not travel again"
    client.close()


def test_a_file_is_kept_by_its_hash(http: httpx.Client) -> None:
    data = b'{"a":1}\n{"a":2}\n'
    answer = put(http, data)
    assert answer.status_code == 201, answer.text
    name = hashlib.sha256(data).hexdigest()
    assert answer.json() == {"blob": {"sha256": name, "bytes": len(data), "rows": 2}}
    assert http.get(f"blobs/{name}").json() == answer.json()
    seed = {"name": "s", "data": {"rows": {"$rows": name, "count": 2}}}
    body: dict[str, Any] = {"pipeline": PIPELINE, "seed": seed}
    assert http.post("pipelines/validate", json=body).status_code == 200
    seed["data"]["rows"]["count"] = 3
    refused = http.post("runs", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_seed")
    assert "has 2 rows" in refused.text


@pytest.mark.parametrize(
    ("data", "name", "status"),
    [
        (b"1\n", "a" * 64, 400),
        (b"not json\n", None, 400),
        (b"1\n", "abc", 400),
        (b'"' + b"x" * LIMIT + b'"\n', None, 413),
    ],
)
def test_what_is_refused_leaves_no_file(
    http: httpx.Client, real: JupyterProcess, data: bytes, name: str | None, status: int
) -> None:
    """P11: one clear error, and nothing changed."""
    before = files(real)
    answer = put(http, data, name)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert files(real) == before


def test_a_seed_of_somebody_without_the_file_starts_nothing(http: httpx.Client) -> None:
    seed = {"name": "s", "data": {"rows": {"$rows": "b" * 64, "count": 2}}}
    refused = http.post("runs", json={"pipeline": PIPELINE, "seed": seed})
    assert refused.status_code == 400
    assert "is not here" in refused.text
