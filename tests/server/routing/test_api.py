"""What an orchestrator is: the real one and the fake are one, and the server takes no class that is none."""

from __future__ import annotations

import pytest
from traitlets import TraitError

from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator
from po_jupyter.server.extension import PoExtension
from po_jupyter.server.routing.api import OrchestratorApi, OrchestratorFactory, OrchestratorService
from tests.support.fake_orchestrator import FakeOrchestrator


def orchestrators(real: RunningOrchestrator, fake: FakeOrchestrator) -> list[OrchestratorApi]:
    """mypy checks this; nobody calls it."""
    return [real, fake]


FACTORIES: list[OrchestratorFactory] = [Orchestrator, FakeOrchestrator]


@pytest.mark.parametrize("factory", FACTORIES)
def test_what_runs_runs_can_be_named_in_the_configuration(factory: type) -> None:
    assert issubclass(factory, OrchestratorService)
    assert PoExtension(orchestrator_class=factory).orchestrator_class is factory


def test_a_class_that_cannot_be_started_is_refused() -> None:
    """P11: when the server starts, not when the first run is submitted."""
    with pytest.raises(TraitError, match="OrchestratorService"):
        PoExtension(orchestrator_class=dict)
