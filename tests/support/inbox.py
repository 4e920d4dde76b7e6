"""A watch folder over a store in memory, for the tests of its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.inbox.folder import InboxFolder
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.store.keyed.memory import MemoryStore

GREET = {"name": "greet", "tasks": [{"name": "say", "prompt": "Hello {{ seed.who }}", "llm": "fake:echo"}]}
GOOD = {"name": "first", "pipeline": "greet", "data": {"who": "you"}}


def seed(**changes: Any) -> bytes:
    """The good seed with changes; a value of `...` takes the field out."""
    return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not ...}).encode()


class Desk:
    """A watch folder over a store in memory, looked at by hand."""

    def __init__(self, tmp: Path) -> None:
        self.settings = Settings(
            data_dir=tmp / "data", inbox_dir=tmp / "inbox", inbox_stable=0,
            inbox_max_bytes=5000, zip_max_files=5, zip_max_bytes=3_000_000, zip_max_ratio=50,
        )  # fmt: skip
        self.store = MemoryStore()
        registry = PipelineRegistry(self.store)
        registry.put(validate_pipeline(GREET), "local")
        self.folder = InboxFolder(self.settings, self.store, registry, owner="local")
        self.folder.open()

    def drop(self, name: str, data: bytes) -> Path:
        path = self.folder.pending / name
        path.write_bytes(data)
        return path

    def rejected(self, name: str) -> dict[str, Any]:
        """The reason, after the file was looked at and rejected, and nothing else happened."""
        taken = self.folder.take_in(name)
        assert taken.new is None
        assert taken.rejected is not None
        where = self.folder.root / "rejected"
        assert sorted(p.name for p in where.iterdir()) == sorted(
            [taken.rejected, f"{taken.rejected}.reason.json"]
        )
        self.unchanged()
        assert list(self.folder.pending.iterdir()) == []
        reason = json.loads((where / f"{taken.rejected}.reason.json").read_text("utf-8"))
        assert set(reason) == {"file", "at", "error"}
        return dict(reason["error"])

    def unchanged(self) -> None:
        assert self.store.runs().heads == []
        assert self.folder.current_runs() == []
        assert list((self.folder.root / "complete").iterdir()) == []
        assert not (self.settings.data_dir / "runs").exists() or not list(
            (self.settings.data_dir / "runs").iterdir()
        )
