"""The pages of the reference say what the code says."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice
from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.model.pipeline.pipeline import Pipeline
from tests.docs.generate import _YAML_MODELS, COMMAND, PAGES, REFERENCE, generated, path_of
from tests.docs.parts import PARTS
from tests.support.start_mode import set_worker_start


@pytest.fixture
def default_start() -> Iterator[None]:
    """The settings as they are, also where PO_WORKER_START gave another default to those of tests."""
    start = Settings.model_fields["worker_start"].default
    set_worker_start(None)
    yield
    set_worker_start(start)


@pytest.mark.usefixtures("default_start")
@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_the_one_that_the_code_makes(name: str) -> None:
    there, made = path_of(name).read_text("utf-8"), generated(name)
    change = "\n".join(islice(unified_diff(there.splitlines(), made.splitlines(), lineterm="", n=1), 20))
    assert not change, f"{path_of(name).name} is out of date; this writes it again: {COMMAND}\n{change}"


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_the_made_part_of_a_written_page_is_up_to_date(path: Path) -> None:
    same = path.read_text("utf-8") == PARTS[path]()
    assert same, f"{path.name} is out of date; this writes its made part again: {COMMAND}"


def test_every_page_of_the_reference_is_made() -> None:
    """But for that of the gateway, which is a program of its own: its routes are in no table."""
    assert {path.stem for path in REFERENCE.glob("*.md")} - {"gateway"} == set(PAGES)


def test_every_field_of_a_pipeline_is_explained() -> None:
    """The reference and hover texts in an editor are made of these."""
    silent = [
        f"{model.__name__}.{name}"
        for model in _YAML_MODELS.values()
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert silent == []
    assert Pipeline.model_json_schema()["properties"]["tasks"]["description"]
