"""The API of an orchestrator, as the server calls it: a Protocol for each subject, and `OrchestratorApi` with all.

`po_jupyter.orchestrator.service.Orchestrator` is one; the setting `orchestrator_class` names another. In every method
`owner` is whose runs are meant: None sees all, and somebody else's run is NotFound. All of them may raise StoreError.
Answers that are handed on as JSON are `JsonMapping`s; their fields are documented where they are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

if TYPE_CHECKING:
    from po_jupyter.config import Settings
    from po_jupyter.model.run.events import EventRecord
    from po_jupyter.model.run.view import RunView
    from po_jupyter.server.routing.changes import ChangesApi
    from po_jupyter.server.routing.inspection import InspectionApi
    from po_jupyter.server.routing.monitoring import DoctorApi, MonitoringApi, ReadinessReport
    from po_jupyter.server.routing.pipelines import PipelinesApi, SchedulesApi
    from po_jupyter.server.routing.scoring import ScoresApi
    from po_jupyter.server.routing.waits import WaitsApi
    from po_jupyter.server.routing.workers import WorkersApi

JsonMapping = Mapping[str, object]


class SubmissionsApi(Protocol):
    """New runs, and the files of rows that they name."""

    async def submit(self, body: JsonMapping, *, owner: str, code_allowed: bool = True) -> tuple[RunView, bool]:
        """Make a run durable and start it; (the run, was it new). InvalidInput with every violation, NotFound (a
        registered pipeline), Forbidden, VersionMismatch, Conflict (the idempotency key had another body)."""
        ...

    async def validate(self, body: JsonMapping, *, owner: str) -> JsonMapping:
        """Check a body of `pipelines/validate`: `{ok, pipeline, warnings, analysis?}`. InvalidPipeline, InvalidSeed."""
        ...

    async def estimate(self, body: JsonMapping, *, owner: str, code_allowed: bool = True) -> JsonMapping:
        """The cost of a run, which is not started. Raises as `submit`."""
        ...

    async def receive_rows(self, digest: str, owner: str) -> UploadApi:
        """Begin to receive a file of rows; `digest` is its SHA-256. InvalidInput, StoreUnusable."""
        ...

    async def row_file(self, digest: str, owner: str) -> JsonMapping:
        """`{sha256, bytes, rows}` of a file of rows. NotFound."""
        ...


class UploadApi(Protocol):
    """A file that is being received."""

    async def write(self, data: bytes) -> None:
        """The next bytes; the sender waits for the disk. StoreUnusable."""

    async def finish(self) -> JsonMapping:
        """Check and keep the file: `{sha256, bytes, rows}`. InvalidInput, StoreUnusable."""
        ...

    def drop(self) -> None:
        """Forget what came; nothing happens after `finish`."""


class RunsApi(Protocol):
    """Runs, as they stand."""

    async def get(self, run_id: str, owner: str | None, *, whole_seed: bool = True) -> RunView:
        """A run by its id or a unique end of it; with `whole_seed` false without a large seed's data. Conflict when
        several runs end so."""
        ...

    async def page(
        self,
        owner: str | None,
        states: Sequence[str] = (),
        pipeline: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        *,
        q: str = "",
        since: str = "",
        until: str = "",
        children: bool = False,
    ) -> tuple[Sequence[RunView], str | None]:
        """A page of runs, newest first, and the cursor of the next one, with `children` those that are a part of
        another one too; with `q` in their id or names, made from
        `since` to before `until` (ISO 8601, UTC). InvalidInput for a wrong cursor."""
        ...

    async def recent(self, pipeline: str, owner: str | None) -> RunView | None:
        """The newest run of a pipeline, without a large seed, if it is among the newest of the store."""
        ...

    async def attention(self, owner: str | None) -> tuple[Sequence[RunView], int]:
        """The newest runs that need a person, and how many there are."""
        ...

    async def events(
        self, run_id: str, owner: str | None, since: int = 0, limit: int = 1000
    ) -> Sequence[EventRecord]:
        """Events after offset `since`."""
        ...

    async def dead_letters(
        self, owner: str | None, cursor: str | None = None, limit: int = 50
    ) -> tuple[Sequence[JsonMapping], str | None]:
        """Runs that exhausted their attempts, newest first, and the cursor of the next page."""
        ...


class ResultsApi(Protocol):
    """The results of a run: outputs, files, rows, calls, logs."""

    async def pipeline(self, run_id: str, owner: str | None) -> JsonMapping:
        """`{pipeline, needs}`: the definition as it was submitted, and what each task waits for."""
        ...

    async def outputs(self, run_id: str, owner: str | None, task: str | None = None) -> JsonMapping:
        """Outputs of finished tasks (or of one) by name. NotFound."""
        ...

    async def artifacts(self, run_id: str, owner: str | None) -> Sequence[JsonMapping]:
        """Artifacts by name: `{name, task, bytes, sha256, path}`."""
        ...

    async def artifact(self, run_id: str, owner: str | None, name: str) -> BinaryIO:
        """The file of an artifact, open for reading: close it. NotFound, Unavailable."""
        ...

    async def items(
        self,
        run_id: str,
        owner: str | None,
        task: str,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        *,
        result: bool = False,
    ) -> tuple[Sequence[JsonMapping], str | None]:
        """Rows of a map in order, `{index, ok, output, error, usage, reused}`, and the cursor of the next page."""
        ...

    async def calls(
        self,
        run_id: str,
        owner: str | None,
        task: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        state: str | None = None,
    ) -> tuple[Sequence[JsonMapping], str | None]:
        """The journal of calls in order, without the answers, and the cursor of the next page."""
        ...

    async def logs(
        self, run_id: str, owner: str | None, task: str | None = None, stage: str | None = None
    ) -> Sequence[JsonMapping]:
        """Logs of stages: `{task, stage, name, bytes, text, cut}`."""
        ...


class ControlApi(Protocol):
    """Changes to runs that exist. Each is durable when its method returns. Conflict when the run's state forbids it."""

    async def cancel(self, run_id: str, owner: str | None) -> RunView:
        """Stop the run; what is finished is kept."""
        ...

    async def resume(
        self,
        run_id: str,
        owner: str | None,
        from_task: str | None = None,
        only_failed: bool = False,
        budget: JsonMapping | None = None,
        *,
        rows: Mapping[str, Sequence[int]] | None = None,
        include_done: bool = False,
        code_allowed: bool = True,
    ) -> RunView:
        """Go on with an ended run, with `rows` by map only those. InvalidInput, NotFound (the task), Forbidden."""
        ...

    async def restart(
        self,
        run_id: str,
        owner: str | None,
        task: str | None = None,
        *,
        only: bool = False,
        clear_usage: bool = False,
        code_allowed: bool = True,
    ) -> RunView:
        """Do an ended run again: all of it, from a task on, or with `only` that task alone."""
        ...

    async def fork(
        self,
        run_id: str,
        owner: str | None,
        from_task: str,
        *,
        seed: object = None,
        pipeline: object = None,
        idempotency_key: str | None = None,
        code_allowed: bool = True,
    ) -> RunView:
        """A new run with the checkpoints of the tasks before `from_task`. Raises as `SubmissionsApi.submit`."""
        ...

    async def gate(
        self, run_id: str, owner: str | None, decision: str, note: str = "", *, task: str | None = None
    ) -> RunView:
        """Decide the open gate, or only the gate of `task`: `approve` or `reject`."""
        ...

    async def delete(self, run_id: str, owner: str | None) -> None:
        """Remove an ended run with its files."""

    async def requeue(
        self, run_id: str, owner: str | None, from_task: str | None = None, *, code_allowed: bool = True
    ) -> RunView:
        """Try a dead run again."""
        ...

    async def discard(self, run_id: str, owner: str | None) -> None:
        """Remove a dead run."""


class EnvironmentApi(Protocol):
    """Keys of providers, and the models that can be used."""

    async def list_keys(self) -> Sequence[JsonMapping]:
        """The state of every provider's key, masked."""
        ...

    async def set_key(self, provider: str, key: str) -> JsonMapping:
        """Store a key; its state. InvalidInput."""
        ...

    async def remove_key(self, provider: str) -> None:
        """Forget a stored key. NotFound, InvalidInput."""

    async def models(self, *, word: str | None = None, provider: str | None = None) -> Sequence[JsonMapping]:
        """Models by name, usable ones first. InvalidInput for an unknown provider."""
        ...


class MaintenanceApi(Protocol):
    """Room and usage."""

    async def clean(
        self,
        owner: str | None,
        *,
        dry_run: bool = False,
        older_than: float | None = None,
        states: Sequence[str] = (),
        cache: bool = False,
    ) -> JsonMapping:
        """Delete ended runs older than so many days, or the cached answers of models: `{runs, bytes, returned, dry_run,
        more, cache?}`. InvalidInput."""
        ...

    async def usage(self, owner: str | None, *, days: int = 30) -> JsonMapping:
        """Usage by day and room on the disk: `{days, total, by_pipeline, owners?, today?, disk}`."""
        ...

    async def notifications(self) -> Sequence[JsonMapping]:
        """A report about each channel that is told of ends, failures and gates."""
        ...


class OrchestratorApi(Protocol):
    """A started orchestrator: its parts by subject."""

    @property
    def submissions(self) -> SubmissionsApi:
        """New runs."""
        ...

    @property
    def runs(self) -> RunsApi:
        """Queries."""
        ...

    @property
    def results(self) -> ResultsApi:
        """Outputs, files, rows, calls, logs."""
        ...

    @property
    def inspection(self) -> InspectionApi:
        """Looks into one run."""
        ...

    @property
    def scores(self) -> ScoresApi:
        """Scores of answers."""
        ...

    @property
    def control(self) -> ControlApi:
        """Cancel, resume, decide, delete."""
        ...

    @property
    def pipelines(self) -> PipelinesApi:
        """Registered definitions."""
        ...

    @property
    def schedules(self) -> SchedulesApi:
        """Pipelines that run by the clock."""
        ...

    @property
    def environment(self) -> EnvironmentApi:
        """Keys and models."""
        ...

    @property
    def maintenance(self) -> MaintenanceApi:
        """Cleaning and usage."""
        ...

    @property
    def monitoring(self) -> MonitoringApi:
        """Metrics."""
        ...

    @property
    def doctor(self) -> DoctorApi:
        """Checks."""
        ...

    @property
    def workers(self) -> WorkersApi:
        """The nodes of the store."""
        ...

    @property
    def changes(self) -> ChangesApi:
        """The change feed."""
        ...

    @property
    def waits(self) -> WaitsApi:
        """Who waits for what."""
        ...

    @property
    def max_running(self) -> int | None:
        """Runs that may have a worker at the same time; None: unknown."""

    def meta(self) -> JsonMapping:
        """A description for `GET meta`."""
        ...

    def ready(self) -> ReadinessReport:
        """For `GET ready`."""
        ...

    def live_runs(self) -> int:
        """Runs at work or queued: what keeps a server from being idle."""
        ...


@runtime_checkable
class OrchestratorService(Protocol):
    """An orchestrator that can be started, once, and stopped; an `OrchestratorFactory` makes it."""

    async def start(self) -> OrchestratorApi:
        """Begin; its parts. Raises what keeps it from starting, and leaves nothing behind then."""
        ...

    async def stop(self) -> None:
        """Let its workers checkpoint, and end."""


class OrchestratorFactory(Protocol):
    """The class that `orchestrator_class` names."""

    def __call__(self, settings: Settings, /) -> OrchestratorService:
        """A service that is not started yet."""
        ...
