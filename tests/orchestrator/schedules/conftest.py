from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.schedules import Clockwork


@pytest.fixture
def clockwork(tmp_path: Path) -> Clockwork:
    return Clockwork(tmp_path)
