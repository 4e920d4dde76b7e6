"""The pipeline library: definitions that are registered by name, per owner, as documents of the store."""

from __future__ import annotations

from contextlib import suppress
from typing import NotRequired, TypedDict

from po_jupyter.config import Settings
from po_jupyter.errors import CorruptRow, InvalidPipeline, NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.contained import inlined
from po_jupyter.model.run.events import now
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.permission import check_may_run
from po_jupyter.orchestrator.examination.operations import Examine, located
from po_jupyter.orchestrator.threads import OwnerThreads, ToThread
from po_jupyter.store.documents import room_of
from po_jupyter.store.protocol import DocumentStore

KIND = "pipeline"


class PipelineSummary(TypedDict):
    """A registered pipeline as lists show it; `tasks` are names. `problem` is why it cannot be read."""

    name: str
    version: str
    revision: str
    updated_at: str
    tasks: list[str]
    problem: NotRequired[str]


class PipelineRegistry:
    """Name → definition. Runs keep their own snapshot, so changing or deleting one changes no run.

    Every method blocks: call them in a thread.
    """

    def __init__(self, store: DocumentStore) -> None:
        """Reads and writes documents of `store`."""
        self._store = store

    def put(self, pipeline: Pipeline, owner: str, *, code_allowed: bool = True) -> tuple[JsonObject, bool]:
        """Register it; (what `get` answers, was it new). The same content again changes nothing.

        `code_allowed`, whether who registers it has the scope `code:run`, is kept for runs that nobody else starts.
        """
        name = room_of(owner) + pipeline.name
        current = self._store.get(KIND, name)
        if current is not None and current["revision"] == pipeline.revision:
            code_allowed = code_allowed or current.get("code_allowed", True)
            if code_allowed == current.get("code_allowed", True):
                return _with_revision(current), False
        document = {
            "definition": pipeline.to_json(), "revision": pipeline.revision, "updated_at": now(),
            "code_allowed": code_allowed,
        }  # fmt: skip
        self._store.put(KIND, name, document)
        return _with_revision(document), current is None

    def get(self, name: str, owner: str) -> JsonObject:
        """The definition, with `revision` and `updated_at`. NotFound."""
        return _with_revision(self._document(name, owner))

    def pipeline(self, name: str, owner: str) -> Pipeline:
        """The definition as a value. NotFound."""
        return validate_pipeline(self._document(name, owner)["definition"], recorded=True)

    def code_allowed(self, name: str, owner: str) -> bool:
        """Whether who registered it had the scope `code:run`. NotFound."""
        return bool(self._document(name, owner).get("code_allowed", True))

    def _document(self, name: str, owner: str) -> JsonObject:
        document = self._store.get(KIND, room_of(owner) + name)
        if document is None:
            names = self._names(owner)
            none = "No pipeline is registered yet; a cell %%po_pipeline NAME without --run registers one."
            hint = f"Registered: {', '.join(names[:20])}" if names else none
            raise NotFound(f"there is no pipeline {name!r}{did_you_mean(name, names)}", hint=hint)
        return dict(document)

    def summaries(self, owner: str) -> list[PipelineSummary]:
        """Every pipeline of the owner, by name."""
        summaries: list[PipelineSummary] = []
        for name in self._names(owner):
            try:
                document = self._store.get(KIND, room_of(owner) + name)
                if document is not None:
                    definition = validate_pipeline(document["definition"], recorded=True)
                    summaries.append({
                        "name": name, "version": definition.version, "revision": document["revision"],
                        "updated_at": document["updated_at"], "tasks": [t.name for t in definition.tasks],
                    })  # fmt: skip
            except (CorruptRow, InvalidPipeline) as error:
                summaries.append({
                    "name": name, "version": "", "revision": "", "updated_at": "", "tasks": [],
                    "problem": error.message,
                })  # fmt: skip
        return summaries

    def delete(self, name: str, owner: str) -> None:
        """Forget it. NotFound."""
        with suppress(CorruptRow):  # all the more
            self._document(name, owner)
        self._store.drop(KIND, room_of(owner) + name)

    def _names(self, owner: str) -> list[str]:
        start = room_of(owner)
        return [n.removeprefix(start) for n in self._store.names(KIND) if n.startswith(start)]


class PipelineLibrary:
    """The registry for callers on the orchestrator's loop."""

    def __init__(
        self,
        registry: PipelineRegistry,
        settings: Settings,
        to_thread: ToThread,
        *,
        examine: Examine,
        examining: OwnerThreads,
    ) -> None:
        """Calls `registry` in threads of `to_thread`, and `examine`, which reads definitions, in others."""
        self._examine = examine
        self._examining = examining
        self._registry = registry
        self._settings = settings
        self._to_thread = to_thread

    async def put(
        self, name: str, definition: object, *, owner: str, code_allowed: bool = True
    ) -> tuple[JsonObject, bool]:
        """Register a definition; (as stored with `revision` and `updated_at`, was the name new).
        InvalidPipeline, Forbidden: others will run it by its name, and trust it to be the owner's."""
        return await self._examining.of(owner)(self._put, name, definition, owner, code_allowed)

    def _put(self, name: str, definition: object, owner: str, code_allowed: bool) -> tuple[JsonObject, bool]:
        answer = self._examine({"what": "parse", "definition": definition, "name": name})
        try:
            pipeline = inlined(
                validate_pipeline(answer, recorded=True), lambda one: self._registry.pipeline(one, owner)
            )
        except InvalidPipeline as error:
            raise located(error, definition) from None
        check_may_run(pipeline, self._settings, code_allowed=code_allowed)
        return self._registry.put(pipeline, owner, code_allowed=code_allowed)

    async def get(self, name: str, *, owner: str) -> JsonObject:
        """A registered definition. NotFound."""
        return await self._to_thread(self._registry.get, name, owner)

    async def summaries(self, *, owner: str) -> list[PipelineSummary]:
        """The registered pipelines of the owner, by name."""
        return await self._to_thread(self._registry.summaries, owner)

    async def delete(self, name: str, *, owner: str) -> None:
        """Forget a registered pipeline; its runs keep their snapshots. NotFound."""
        await self._to_thread(self._registry.delete, name, owner)


def _with_revision(document: JsonObject) -> JsonObject:
    return {**document["definition"], "revision": document["revision"], "updated_at": document["updated_at"]}
