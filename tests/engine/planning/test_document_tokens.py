"""Documents in an estimate: pages of those in the seed are counted, of others it is said that they are not."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.seed import Seed
from tests.support.pdf import pdf
from tests.support.sound import sound_url, wav


def estimated(files: list[str], model: str = "anthropic:claude-sonnet-4-5") -> Any:
    task = {"name": "read", "for_each": "{{ seed.files }}", "prompt": "Sum up.", "files": ["{{ item }}"]}
    pipeline = validate_pipeline({"name": "p", "llm": {"model": model}, "tasks": [task]})
    seed = Seed(name="p", data={"files": files})
    return estimate_run(pipeline, seed, seed.data, settings=Settings())


def url(pages: int) -> str:
    return "data:application/pdf;base64," + b64encode(pdf(pages)).decode()


def test_pages_of_the_seeds_files_are_counted_and_priced() -> None:
    found = estimated([url(3), url(1)])
    assert 4 * 8000 < found["input_tokens"] < 4 * 8000 + 50
    assert found["cost"]["worst"] > 4 * 8000 * 3e-6
    assert not any("pages" in text for text in found["unknown"])


def test_seconds_of_sound_are_counted_at_their_own_price() -> None:
    one, two = (estimated([sound_url(wav(n * 60.0))] * 30, model="gemini:gemini-2.5-flash") for n in (1, 2))
    assert two["input_tokens"] - one["input_tokens"] == 30 * 1920
    assert two["cost"]["worst"] - one["cost"]["worst"] == pytest.approx(30 * 1920 * 1e-6, rel=0.01)


def test_many_files_are_taken_to_be_like_the_first() -> None:
    found = estimated([url(2)] * 50)
    assert found["input_tokens"] >= 50 * 2 * 8000


def test_files_that_are_not_there_yet_are_unknown() -> None:
    assert "how many pages or seconds the files of task 'read' have" in estimated(["report.pdf"])["unknown"]
    assert estimated(["data:;base64,xx"])["input_tokens"] < 50, "its row fails, and asks nothing"
