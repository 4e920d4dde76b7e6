"""What may stand at the cursor of a pipeline's YAML."""

from __future__ import annotations

from po_jupyter.model.editing.completion import CursorContext, help_at

MODELS = ["openai:gpt-5-mini", "openai:gpt-5", "local:smollm2-135m"]
SEED = {"rows": [{"text": "It crashes", "id": 3}], "language": "en", "a-b": 1}
PIPELINE = """tasks:
  - extract
  - name: label
    for_each: "{{ seed.rows }}"
    prompt: "Label: ITEM"
    output: {type: object, properties: {label: {enum: [bug]}, why: {type: string}}}
  - name: pick
    needs: extract
    prompt: "PICK"
    output: {type: object, properties: {best: {type: string}}}
  - name: report
    needs: [label, pick]
    prompt: "REPORT"
"""


def labels(marked: str) -> list[str]:
    cursor = marked.index("¦")
    context = CursorContext.of(marked.replace("¦", ""), cursor)
    return [
        one.label
        for one in context.suggestions(
            MODELS if context.needs_models else (), SEED if context.needs_seed else None
        )
    ]


def test_fields_that_are_not_there_yet() -> None:
    found = labels("name: x\n¦")
    assert found[:3] == ["version", "description", "llm"]
    assert "name" not in found
    assert labels("tasks:\n  - name: a\n    pro¦\n")[0] == "prompt"
    assert "max_tokens" in labels("llm: {¦}")
    assert labels("tasks:\n  - name: a\n    retry: {mult¦}") == ["multiplier"]
    assert labels("tasks:\n  - na¦") == ["name"]


def test_a_field_brings_its_colon_and_its_description() -> None:
    (one,) = CursorContext.of("tasks:\n  - for_e", 15).suggestions()
    assert (one.text, one.kind) == ("for_each: ", "field")
    assert "once for each" in one.documentation
    (one,) = CursorContext.of("llm: {effor: low}", 10).suggestions()
    assert one.text == "effort: "
    (one,) = CursorContext.of("llm: {effor: low}", 11).suggestions()
    assert one.text == "effort"


def test_values_models_and_tasks() -> None:
    assert labels("llm: {model: op¦}") == MODELS[:2]
    assert labels("llm: loc¦") == MODELS[2:]
    assert labels("tasks:\n  - name: a\n    llm: {effort: m¦}")[0] == "minimal"
    assert labels("tasks:\n  - name: a\n    cache: re¦") == ["refresh"]
    assert labels("tasks:\n  - one\n  - name: two\n    needs: ¦\n  - name: three\n") == ["one", "three"]
    assert labels("tasks:\n  - one\n  - name: two\n    needs: [o¦]\n") == ["one"]
    assert labels("tasks:\n  - one\n  - name: two\n    needs:\n      - ¦\n") == ["one"]


def test_help_of_a_key() -> None:
    found = help_at(PIPELINE, PIPELINE.index("for_each") + 1)
    assert found is not None
    assert PIPELINE[found.start : found.end] == "for_each"
    assert found.title == "for_each: text"
    assert "once for each" in found.documentation
    assert help_at("max_concurrency: 3", 2) is None
    concurrency = help_at("tasks:\n  - max_concurrency: 3", 14)
    assert concurrency is not None and concurrency.title == "max_concurrency: integer · default 5"
    assert help_at(PIPELINE, PIPELINE.index("extract")) is None


def test_a_huge_text_is_not_looked_at() -> None:
    assert CursorContext.of("a" * 200_000, 5).suggestions() == []
    assert help_at("a: 1\n" * 50_000, 0) is None


def test_fields_of_votes_and_of_each_model_of_a_cascade() -> None:
    task = "tasks:\n  - name: a\n    for_each: '{{ seed.rows }}'\n"
    assert labels(task + "    vot¦\n") == ["votes"]
    assert labels(task + "    votes: {stop¦}\n") == ["stop_early"]
    assert labels(task + "    llm:\n      - {wh¦}\n") == ["when"]
    assert labels(task + "    llm:\n      - {model: ¦}\n") == MODELS
    assert labels(task + "    llm: {temp¦}\n") == ["temperature"]
    names = labels(task + "    llm:\n      - {model: x, when: '{{ ¦ }}'}\n")
    assert names[:3] == ["seed", "item", "output"]
    assert "tasks" not in names
