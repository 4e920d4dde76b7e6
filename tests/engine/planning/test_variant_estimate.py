"""The estimate of a map with variants."""

from __future__ import annotations

from typing import Any

from po_jupyter.config import Settings
from po_jupyter.engine.planning.check import violations
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.llm.credentials.availability import models_used
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.seed import Seed

DATA: dict[str, Any] = {"rows": [{"text": f"t{n}"} for n in range(4)]}


def pipeline(**fields: Any) -> Pipeline:
    task = {
        "name": "m", "for_each": "{{ seed.rows }}", "prompt": "Label {{ item.text }}",
        "output": {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]},
        "variants": {"now": {}, "big": {"llm": {"model": "openai:gpt-5"}}, "short": {"prompt": "{{ item.text }}"}},
        **fields,
    }  # fmt: skip
    rows = "{{ tasks.m | selectattr('variant', 'equalto', 'big') | list }}"
    later = {"name": "later", "for_each": rows, "prompt": "{{ item.row }}"}
    return validate_pipeline({"name": "p", "llm": {"model": "openai:gpt-5-mini"}, "tasks": [task, later]})


def test_each_variant_is_in_the_calls_and_the_cost() -> None:
    seed = Seed(name="s", data=DATA)
    settings = Settings()
    whole = estimate_run(pipeline(), seed, DATA, settings=settings)
    m, later = whole["tasks"]
    assert (m["calls"], m["rows"], m["model"]) == (12, 12, "openai:gpt-5-mini, openai:gpt-5")
    assert (later["calls"], whole["calls"]) == (4, 16)
    big = estimate_run(pipeline(variants=None, llm={"model": "openai:gpt-5"}), seed, DATA, settings=settings)
    small = estimate_run(pipeline(variants=None), seed, DATA, settings=settings)
    assert m["cost"]["worst"] > big["tasks"][0]["cost"]["worst"] + small["tasks"][0]["cost"]["worst"]
    assert estimate_run(pipeline(), seed, DATA, settings=settings, limit=1)["tasks"][0]["calls"] == 3


def test_each_variant_is_checked_before_a_run() -> None:
    wrong = pipeline(
        variants={"a": {"prompt": "{{ item.txet }}"}, "b": {"llm": {"model": "nobody:x"}}, "c": {}}
    )
    found = {violation.where: violation.message for violation in violations(wrong, Seed(name="s", data=DATA))}
    assert set(found) == {"tasks[0].variants.a.prompt", "tasks[0].variants.b.llm.model"}
    assert "txet" in found["tasks[0].variants.a.prompt"]
    assert violations(pipeline(), Seed(name="s", data=DATA)) == []


def test_the_models_of_all_variants_are_those_of_the_run() -> None:
    uses = [(use.ref, use.where, use.tasks) for use in models_used(pipeline(), "local:x")]
    assert uses == [
        ("openai:gpt-5-mini", "llm.model", ("m", "later")),
        ("openai:gpt-5", "tasks[0].variants.big.llm.model", ("m",)),
    ]
