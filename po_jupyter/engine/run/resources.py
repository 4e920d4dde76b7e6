"""Resources of a run in its worker: files, threads, MCP servers and snapshots of failed attempts."""

from __future__ import annotations

from collections.abc import Callable

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.base.threads import Threads
from po_jupyter.engine.files.artifacts import RunFiles
from po_jupyter.engine.lifecycle.snapshots import Snapshots
from po_jupyter.engine.ports import RunFileShare
from po_jupyter.engine.replay.history import History
from po_jupyter.engine.stage_logs.fd_redirect import stdio_redirect
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.engine.tools.mcp import GetVariables, McpTools, own_variables
from po_jupyter.model.run.row_file_ref import refs_in


class RunResources:
    """The resources of the machine that the stages of a run use.

    files    artifacts               threads    where sync stages run
    mcp      servers of tools        snapshots  frames of failed attempts
    """

    def __init__(
        self,
        inputs: RunInputs,
        history: History,
        state: Callable[[], RunState],
        mcp_variables: GetVariables = own_variables,
        share: RunFileShare | None = None,
    ) -> None:
        """The resources of a run; `state` is the run as it is now, the others as for `open_session`."""
        rows = [ref.sha256 for _, ref in refs_in(inputs.seed.data)] if share is not None else []
        self.files = RunFiles(
            inputs.run_dir, inputs.fence, history, state, share, rows, inputs.definition.seed_files
        )
        self.threads = Threads()
        self.mcp = McpTools(inputs.settings.mcp_servers, mcp_variables)
        self.snapshots = Snapshots(inputs.run, inputs.run_dir)

    def release(self) -> None:
        """Let go of threads and of the process's descriptors; threads that still run are not waited for."""
        self.threads.close()
        stdio_redirect.release()
