"""Functions that were meant to be stages."""

from __future__ import annotations

import pytest

from po_jupyter.model.pipeline.stage_names import misspelt_stages

GOOD = "def ingestion(ctx):\n    return 1\n"


@pytest.mark.parametrize(
    ("function", "stage"),
    [
        ("inferece", "inference"),
        ("validate_strucure", "validate_structure"),
        ("preprocessing", "pre_processing"),
        ("validateQualitiy", "validate_quality"),
        ("intergration", "integration"),
        ("refin", "refine"),
    ],
)
def test_a_function_that_nothing_calls_and_is_nearly_a_stage(function: str, stage: str) -> None:
    """It was not run, and nobody said so."""
    assert misspelt_stages(f"{GOOD}async def {function}(ctx): ...\n") == [(function, stage, 3)]


@pytest.mark.parametrize(
    "source",
    [
        f"{GOOD}def parse(text): ...\n",
        f"{GOOD}def clean(text): ...\n",
        "def inferences(ctx): ...\ndef inference(ctx): ...\n",
        "def inferece(x): ...\ndef inference(ctx):\n    return inferece(ctx)\n",
        "def refined(x): ...\ndef ingestion(ctx):\n    return list(map(refined, ctx.seed))\n",
        "class Inferece:\n    def refin(self): ...\n",
        "def validateQuality(ctx): ...\n",
    ],
)
def test_helpers_are_left_alone(source: str) -> None:
    assert misspelt_stages(source) == []
