"""The planner: turns a submission into the run that the store makes durable, or says what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.preflight import Preflight
from po_jupyter.orchestrator.examination.operations import Examination, Examine, as_json, examine_here
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.submission.request import (
    Submission,
    check_submission,
    checked_definition,
    new_run,
    with_budget,
)
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import NewRun


class RunPlanner:
    """Checks submissions; starts and stores nothing. Every method blocks: call them in a thread.

    They raise InvalidInput with every violation, InvalidPipeline, InvalidSeed, InvalidEnvironment, NotFound (a
    registered pipeline), Forbidden.
    """

    def __init__(
        self,
        settings: Settings,
        registry: PipelineRegistry,
        row_files: RowFiles,
        preflight: Preflight,
        examine: Examine | None = None,
    ) -> None:
        """Registered pipelines, files of rows and the environment are looked up in these; `examine` reads definitions
        and renders templates, here without it."""
        self._settings = settings
        self._registry = registry
        self._row_files = row_files
        self._preflight = preflight
        self._examine = examine or (lambda examination: examine_here(examination, settings))

    def check(
        self,
        submission: Submission,
        owner: str,
        *,
        code_allowed: bool,
        name: str | None = None,
        modules: bool = True,
    ) -> tuple[Pipeline, Seed]:
        """Pipeline and seed of a submission that can run; the environment is not looked at. `name` is as in
        `validate`."""
        pipeline, seed = check_submission(
            submission, lambda name: self._registry.pipeline(name, owner), code_allowed=code_allowed,
            name=name, modules=modules, settings=self._settings, examine=self._priced(owner),
        )  # fmt: skip
        self._row_files.check(owner, seed.data, seed.index)
        return pipeline, seed

    def _priced(self, owner: str) -> Examine:
        """`examine` with the prices that an owner's runs pay."""
        if self._settings.hub_url is None:
            return self._examine
        prices = self._preflight.team_prices(owner)

        def examine(examination: Examination) -> Pipeline | JsonObject:
            priced: Examination = {**examination, "team_prices": prices}
            return self._examine(priced)

        return examine

    def definition(self, submission: Submission, owner: str) -> Pipeline:
        """The pipeline of a submission without a seed."""
        return checked_definition(
            submission.pipeline, lambda name: self._registry.pipeline(name, owner), self._priced(owner),
            model=submission.options.model, budget=submission.budget,
        )  # fmt: skip

    def plan(self, submission: Submission, owner: str, *, code_allowed: bool) -> NewRun:
        """The run of a submission that can run here and now."""
        pipeline, seed = self.check(submission, owner, code_allowed=code_allowed)
        return self.new_run(submission, pipeline, seed, owner, code_allowed=code_allowed)

    def new_run(
        self, submission: Submission, pipeline: Pipeline, seed: Seed, owner: str, *, code_allowed: bool
    ) -> NewRun:
        """The run of a checked submission whose environment can run it."""
        options = submission.options
        self._preflight.check(
            with_budget(submission, pipeline),
            owner,
            model=options.model,
            skip=options.skip_validation,
        )
        return new_run(submission, pipeline, seed, owner, code_allowed=code_allowed)

    def estimate(self, submission: Submission, owner: str, *, code_allowed: bool) -> JsonObject:
        """The estimate of what a submission asks of models (see `engine.planning.estimate`), `analysis` and
        `warnings`."""
        pipeline, seed = self.check(submission, owner, code_allowed=code_allowed)
        options = submission.options
        estimate = self._priced(owner)({
            "what": "estimate", "definition": pipeline.to_json(), "seed": {"name": seed.name, "data": seed.data},
            "owner": owner, "limit": options.limit, "model": options.model,
            "addresses": self._preflight.addresses(owner),
        })  # fmt: skip
        return {**as_json(estimate), "warnings": self._preflight.warnings(pipeline, owner, options.model)}

    def validate(
        self, submission: Submission, owner: str, *, name: str | None = None, analysis: bool = False
    ) -> Mapping[str, Any]:
        """Check a pipeline, and a seed unless it is None: `{ok, pipeline, warnings, analysis?}`. `name` is the
        pipeline's where its text has none; `analysis` is that of `engine.planning.analysis`, where it is asked for."""
        seed: Seed | None = None
        model = submission.options.model
        if submission.seed is not None:
            pipeline, seed = self.check(submission, owner, code_allowed=True, name=name, modules=False)
        else:
            pipeline = checked_definition(
                submission.pipeline, lambda known: self._registry.pipeline(known, owner), self._priced(owner),
                name=name, model=model, budget=submission.budget,
            )  # fmt: skip
        shown = {**pipeline.to_json(), "revision": pipeline.revision}
        found = {"ok": True, "pipeline": shown, "warnings": self._preflight.warnings(pipeline, owner, model)}
        if not analysis:
            return found
        examination: Examination = {"what": "analyse", "definition": pipeline.to_json(), "owner": owner}
        if seed is not None:
            examination["seed"] = {"name": seed.name, "data": seed.data}
        return {**found, "analysis": as_json(self._examine(examination))}
