"""What workers request of the orchestrator: the endpoint of a local model, the credentials of their run."""

from __future__ import annotations

from collections.abc import Callable

from po_jupyter.errors import Unavailable
from po_jupyter.ipc.messages import FETCH_FILES, KEEP_FILES, ResourceRequest, ResourceResponse
from po_jupyter.orchestrator.environment.local_models import LocalModels
from po_jupyter.orchestrator.environment.run_credentials import MCP_SERVER, PROVIDER, RunCredentials
from po_jupyter.orchestrator.environment.run_file_exchange import RunFileExchange
from po_jupyter.orchestrator.threads import ToThread


class WorkerResources:
    """Answers the requests of workers."""

    def __init__(
        self,
        local_models: LocalModels,
        credentials: RunCredentials,
        to_thread: ToThread,
        files: RunFileExchange | None = None,
    ) -> None:
        """Nothing is started yet. `files` are those that nodes share."""
        self._files = files
        self._local_models = local_models
        self._to_thread = to_thread
        self._credentials = credentials
        self._lookups = {PROVIDER: credentials.provider_key, MCP_SERVER: credentials.mcp_variables}

    async def get(
        self, run: str, request: ResourceRequest, progress: Callable[[str], None]
    ) -> ResourceResponse:
        """What the worker of a run requests; `progress` is called with what it waits for meanwhile. Raises
        ModelError, ToolFailed, StoreError, InvalidInput, Unavailable."""
        look_up = self._lookups.get(request.what)
        if look_up is not None and request.model is not None:
            variables = await self._to_thread(look_up, run, request.model)
            prices = None
            if request.what == PROVIDER:
                prices = await self._to_thread(self._credentials.team_prices, run, request.model, variables)
            return ResourceResponse(request.id, variables=variables, prices=prices)
        if self._files is not None and request.what in (KEEP_FILES, FETCH_FILES) and request.about is not None:
            problems = await self._to_thread(self._files.answer, run, request.what, request.about)
            return ResourceResponse(request.id, problems=problems)
        if request.what != "local_model" or request.model is None:
            raise Unavailable(f"the orchestrator cannot give {request.what!r:.40}")
        await self._to_thread(self._credentials.check_local_model, run, request.model)
        endpoint = await self._local_models.endpoint(request.model, progress)
        return ResourceResponse(request.id, endpoint.base_url, endpoint.key)
