"""Fixtures of the tests of logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from po_jupyter.telemetry.redaction import redactor
from tests.support.log_collector import LogCollector


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The logger `po_jupyter`, as it was afterwards."""
    logger = logging.getLogger("po_jupyter")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    secrets, pattern = set(redactor._secrets), redactor._pattern
    yield logger
    for handler in logger.handlers:
        if handler not in handlers:
            handler.close()
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)
    redactor._secrets, redactor._pattern = secrets, pattern
    structlog.reset_defaults()


@pytest.fixture
def collector() -> Iterator[LogCollector]:
    server = LogCollector()
    yield server
    server.close()
