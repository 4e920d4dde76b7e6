"""The file of the limits: read whole, written whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import InvalidSettings
from po_jupyter.hub.config import LimitBook, Limits
from po_jupyter.hub.limits_file import LimitsFile
from tests.support.hub import write_config


def test_limits_are_written_beside_what_else_stands_there(tmp_path: Path) -> None:
    file = LimitsFile(write_config(tmp_path, "http://127.0.0.1:1"))
    assert file.read().limits == LimitBook() and not file.has_changed()
    book = LimitBook(users={"alice": Limits(usd_per_day=1.5, models=("small",))})
    file.write_limits(book)
    assert file.has_changed() and file.read().limits == book
    assert "# the team's" in file.path.read_text() and "usd_per_day: 1.5" in file.path.read_text()


def test_limits_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    file = LimitsFile(write_config(tmp_path, "http://127.0.0.1:1"))
    before = file.path.read_bytes()
    with pytest.raises(InvalidSettings):
        file.write_limits(LimitBook(all=Limits(models=("openai:gpt-4o",))))
    assert file.path.read_bytes() == before and list(tmp_path.iterdir()) == [file.path]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for text in ("a: [", "models: 1\nmodels: 2", "\t", "!!python/object/apply:os.system [x]"):
        (tmp_path / "limits.yaml").write_text(text)
        with pytest.raises(InvalidSettings, match=r"limits\.yaml"):
            LimitsFile(tmp_path / "limits.yaml").read()
    with pytest.raises(InvalidSettings, match="cannot be read"):
        LimitsFile(tmp_path / "nothing.yaml").read()
    assert not LimitsFile(tmp_path / "nothing.yaml").has_changed()
