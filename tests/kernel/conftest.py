"""A real IPython shell with our magics, over a client in memory."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from IPython.core.interactiveshell import InteractiveShell

from po_jupyter.kernel import load, unload
from tests.support.kernel import FakeAio, Notebook, classifying


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


@pytest.fixture
def notebook(shell: InteractiveShell) -> Iterator[Notebook]:
    with patch("gc.collect"):  # 0.1 s each time, for nothing that a test looks at
        shell.reset(new_session=False)
    book = Notebook(shell, FakeAio(classifying()))
    load(shell, connect=book.connect)
    yield book
    unload(shell)
