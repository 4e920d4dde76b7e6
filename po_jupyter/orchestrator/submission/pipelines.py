"""Registered pipelines: documents of the store, per owner. Every function blocks: call them in a thread."""

from __future__ import annotations

from typing import Any

from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.events import now
from po_jupyter.store.protocol import DocumentStore

KIND = "pipeline"


class Registry:
    """Name → definition. Runs keep their own snapshot, so changing or deleting one changes no run."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def put(self, pipeline: Pipeline, owner: str) -> tuple[dict[str, Any], bool]:
        """Register it; (what `get` answers, was it new). The same content again changes nothing."""
        place = f"{owner}/{pipeline.name}"
        known = self._store.get(KIND, place)
        if known is not None and known["revision"] == pipeline.revision:
            return _shown(known), False
        document = {"definition": pipeline.to_json(), "revision": pipeline.revision, "updated_at": now()}
        self._store.put(KIND, place, document)
        return _shown(document), known is None

    def get(self, name: str, owner: str) -> dict[str, Any]:
        """The definition, with `revision` and `updated_at`. NotFound."""
        return _shown(self._find(name, owner))

    def pipeline(self, name: str, owner: str) -> Pipeline:
        """The definition as a value. NotFound."""
        return validate_pipeline(self._find(name, owner)["definition"])

    def _find(self, name: str, owner: str) -> dict[str, Any]:
        document = self._store.get(KIND, f"{owner}/{name}")
        if document is None:
            names = self._names(owner)
            hint = f"Registered: {', '.join(names[:20])}" if names else "No pipeline is registered yet."
            raise NotFound(f"there is no pipeline {name!r}{did_you_mean(name, names)}", hint=hint)
        return dict(document)

    def all(self, owner: str) -> list[dict[str, Any]]:
        """Every pipeline of the owner as `{name, version, revision, updated_at, tasks: [names]}`."""
        found = []
        for name in self._names(owner):
            document = self._store.get(KIND, f"{owner}/{name}")
            if document is not None:
                definition = validate_pipeline(document["definition"])
                found.append({
                    "name": name, "version": definition.version, "revision": document["revision"],
                    "updated_at": document["updated_at"], "tasks": [t.name for t in definition.tasks],
                })  # fmt: skip
        return found

    def delete(self, name: str, owner: str) -> None:
        """Forget it. NotFound."""
        self._find(name, owner)
        self._store.drop(KIND, f"{owner}/{name}")

    def _names(self, owner: str) -> list[str]:
        start = f"{owner}/"
        return [n.removeprefix(start) for n in self._store.names(KIND) if n.startswith(start)]


def _shown(document: dict[str, Any]) -> dict[str, Any]:
    return {**document["definition"], "revision": document["revision"], "updated_at": document["updated_at"]}
