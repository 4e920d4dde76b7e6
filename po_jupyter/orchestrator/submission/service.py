"""What runs are made of, until they are durable: definitions, seeds, files of rows. One part of the orchestrator."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline.parsing import parse_pipeline, validate_pipeline
from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.dispatch.protocol import Waking
from po_jupyter.orchestrator.submission import request as submission
from po_jupyter.orchestrator.submission.pipelines import Registry
from po_jupyter.orchestrator.submission.row_uploads import Upload
from po_jupyter.orchestrator.views.projections import brief
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Head, NewRun


class Submitting(Waking):
    """Submit, validate, estimate; the files of rows and the registered pipelines that a submission may name."""

    blobs: RowFiles
    _registry: Registry

    # -- submitting -----------------------------------------------------------------------------

    async def submit(
        self, body: dict[str, Any], *, owner: str, code_allowed: bool = True
    ) -> tuple[RunView, bool]:
        """Make a run of a `POST runs` body durable and start it; (the run, was it new).

        Raises InvalidInput with every violation, NotFound (a registered pipeline), Forbidden, VersionMismatch,
        Conflict (the idempotency key was used with another body). Nothing is stored then.
        """
        again = await self._do(submission.redeemed, self._store, body, owner)
        if again is not None:
            return await self._view(again), False
        asked = await self._do(submission.read, body, code_allowed=code_allowed)
        if asked.interpreter is not None:
            await self._zygotes.get(asked.interpreter)
        new, head, created = await self._do(self._create, asked, owner, code_allowed)
        if created:
            return await self._begin(head, new.definition), True
        return await self._view(head), False

    def _create(
        self, asked: submission.Submission, owner: str, code_allowed: bool
    ) -> tuple[NewRun, Head, bool]:
        pipeline, seed = submission.check(
            asked, lambda name: self._registry.pipeline(name, owner), code_allowed=code_allowed,
            settings=self.settings,
        )  # fmt: skip
        self.blobs.check(owner, seed.data)
        self._check_models(asked, pipeline, code_allowed)
        new = submission.new_run(asked, pipeline, seed, owner, code_allowed=code_allowed)
        head, created = self._store.create_run(new)
        if created:
            state = fold(RunState(head["run"]), [{**e, "offset": i} for i, e in enumerate(new.events, 1)])
            self._views.keep(state, brief(new.definition["seed"]))
        return new, head, created

    async def validate(self, body: dict[str, Any], *, owner: str = "local") -> dict[str, Any]:
        """Check a pipeline (and a seed) as `submit` would: `{ok, pipeline, warnings}`. Raises
        InvalidPipeline, InvalidSeed."""
        return await self._do(self._validate, body, owner)

    async def estimate(self, body: dict[str, Any], *, owner: str, code_allowed: bool = True) -> dict[str, Any]:
        """What a `POST runs` body would ask of models (see `engine.estimate`); starts nothing. Raises as
        `submit`."""
        asked = await self._do(submission.read, body, code_allowed=code_allowed)
        return await self._do(self._estimate, asked, owner, code_allowed)

    def _estimate(self, asked: submission.Submission, owner: str, code_allowed: bool) -> dict[str, Any]:
        from po_jupyter.engine.planning.estimate import estimate_run

        pipeline, seed = submission.check(
            asked, lambda name: self._registry.pipeline(name, owner), code_allowed=code_allowed,
            settings=self.settings,
        )  # fmt: skip
        self.blobs.check(owner, seed.data)
        data = self.blobs.with_rows(owner, seed.data)
        said = estimate_run(
            pipeline, seed, data, settings=self.settings, limit=asked.options.limit, model=asked.options.model
        )
        return {**said, "warnings": self._warnings(pipeline, asked.options)}

    def _validate(self, body: dict[str, Any], owner: str) -> dict[str, Any]:
        if set(body) - {"pipeline", "seed"}:
            raise InvalidInput("the body is {pipeline, seed?}")
        if body.get("seed") is not None:
            asked = submission.Submission(pipeline=body.get("pipeline"), seed=body["seed"])
            pipeline, seed = submission.check(
                asked, lambda n: self._registry.pipeline(n, owner), code_allowed=True, modules=False,
                settings=self.settings,
            )  # fmt: skip
            self.blobs.check(owner, seed.data)
        else:
            wanted = body.get("pipeline")
            if isinstance(wanted, str):
                pipeline = parse_pipeline(wanted) if "\n" in wanted else self._registry.pipeline(wanted, owner)
            else:
                pipeline = validate_pipeline(wanted)
            from po_jupyter.engine.planning.check import check as check_engine
            from po_jupyter.llm.money.pricing import PriceBook

            check_engine(
                pipeline, None, default_model=self.settings.default_model, servers=self.settings.mcp_servers,
                prices=PriceBook(self.settings.prices),
            )  # fmt: skip
        return {
            "ok": True,
            "pipeline": {**pipeline.to_json(), "revision": pipeline.revision},
            "warnings": self._warnings(pipeline),
        }

    # -- files of rows --------------------------------------------------------------------------

    async def receive_blob(self, digest: str, owner: str) -> Upload:
        """Where the bytes of a file of rows go; `digest` is its SHA-256. InvalidInput, StoreUnusable."""
        return Upload(await self._do(self.blobs.receive, owner, digest), self._do)

    async def blob(self, digest: str, owner: str) -> dict[str, Any]:
        """`{sha256, bytes, rows}` of a file of rows. NotFound."""
        return await self._do(self.blobs.info, owner, digest)

    # -- registered pipelines -------------------------------------------------------------------

    async def put_pipeline(self, name: str, definition: Any, *, owner: str) -> tuple[dict[str, Any], bool]:
        """Register a definition; (as stored with `revision` and `updated_at`, was the name new).
        InvalidPipeline."""
        pipeline = validate_pipeline(definition, name=name)
        return await self._do(self._registry.put, pipeline, owner)

    async def get_pipeline(self, name: str, *, owner: str) -> dict[str, Any]:
        """A registered definition. NotFound."""
        return await self._do(self._registry.get, name, owner)

    async def list_pipelines(self, *, owner: str) -> list[dict[str, Any]]:
        """`{name, version, revision, updated_at, tasks}` of each."""
        return await self._do(self._registry.all, owner)

    async def delete_pipeline(self, name: str, *, owner: str) -> None:
        """Forget a registered pipeline; its runs keep their snapshots. NotFound."""
        await self._do(self._registry.delete, name, owner)
