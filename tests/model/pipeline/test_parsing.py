"""R2.2, P11: a pipeline is read with clear errors, each with its place, before anything runs."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.errors import InvalidPipeline, PoError
from po_jupyter.model.pipeline.parsing import parse_pipeline, validate_pipeline

FIRST_SYSTEM = {
    "name": "content-generation",
    "version": "1.0.0",
    "description": "Demo pipeline showcasing multi-stage LLM workflows",
    "tasks": ["research", "analysis", "reanalyze", "synthesis", "formatting"],
    "llm": {"provider": "moonshot", "model": "kimi-k2.5"},
}

WHOLE = """\
name: tickets
version: 1.2.3
description: Labels tickets
llm: {model: "openai:gpt-5-mini", temperature: 0.2, max_tokens: 800, retry: {max_attempts: 5}}
budget: {usd: 2.0, tokens: 500000}
tasks:
  - extract
  - name: classify
    needs: [extract]
    system: You label support tickets.
    prompt: "Label: {{ item.text }}"
    output: {type: object, required: [label], properties: {label: {enum: [bug, question]}}}
    for_each: "{{ seed.rows }}"
    max_concurrency: 16
    failure_threshold: 0.05
    llm: {model: "anthropic:claude-haiku-4-5"}
    retry: {max_attempts: 3, initial_delay: 1.0, max_delay: 10.0, multiplier: 2.0}
    timeout: 300
    refine: {max_attempts: 2, critique: "What is wrong with {{ output }}?"}
    gate: {message: "Look before we send", artifacts: [draft.md]}
    config: {anything: [1, null, true]}
    cache: refresh
  - name: publish
    source: |
      def integration(ctx):
          return 1
metadata: {team: docs}
"""


def one(task: str) -> str:
    return f"name: a\ntasks:\n  - {task}"


def of_map(fields: str) -> str:
    return f'name: a\ntasks:\n  - {{name: m, for_each: "{{{{ seed.rows }}}}", prompt: hi, {fields}}}'


# what is written, what the one error says, and its line
MALFORMED: dict[str, tuple[str, str, int | None]] = {
    "nothing": ("", "the pipeline is empty", None),
    "null": ("~", "the pipeline is empty", None),
    "a list": ("- a", "not a list", None),
    "text": ("hello", "not text", None),
    "a number": ("3", "not a number", None),
    "a tab": ("tasks:\n\t- a", "not valid YAML", 2),
    "unclosed": ("tasks: [a, b", "not valid YAML", 1),
    "a null byte": ("name: a\x00b", "not valid YAML", None),
    "two documents": ("name: a\n---\nname: b", "another document", 2),
    "a key twice": ("name: a\nname: b\ntasks: [a]", "`name` stands here twice", 2),
    "no name": ("tasks: [a]", "a pipeline needs `name`", 1),
    "name with capitals": ("name: My Pipe\ntasks: [a]", "a-z, 0-9 and -", 1),
    "name too long": (f"name: {'a' * 101}\ntasks: [a]", "at most 100 characters", 1),
    "name is a number": ("name: 12\ntasks: [a]", "needs text", 1),
    "version is a number": ("name: a\nversion: 1.0\ntasks: [a]", "needs text", 2),
    "version of letters": ("name: a\nversion: v1\ntasks: [a]", "x.y.z", 2),
    "unknown field": ("name: a\ntaks: 1\ntasks: [a]", "did you mean `tasks`?", 2),
    "unknown field of a task": (
        one("{name: a, neds: [b]}"),
        "`neds` is not a field of a task; did you mean `needs`?",
        3,
    ),
    "unknown field of llm": (
        "name: a\nllm: {modle: 'a:b'}\ntasks: [a]",
        "a field of llm; did you mean `model`?",
        2,
    ),
    "unknown field of retry": (one("{name: a, retry: {attempts: 2}}"), "did you mean `max_attempts`?", 3),
    "unknown field of llm.retry": (
        "name: a\nllm: {retry: {max_attemts: 2}}\ntasks: [a]",
        "not a field of retry",
        2,
    ),
    "unknown field of a gate": (one("{name: a, gate: {mesage: x}}"), "did you mean `message`?", 3),
    "unknown field of a budget": ("name: a\nbudget: {eur: 2}\ntasks: [a]", "`eur` is not a field of budget", 2),
    "no tasks": ("name: a", "a pipeline needs `tasks`", 1),
    "empty tasks": ("name: a\ntasks: []", "needs at least 1", 2),
    "tasks as text": ("name: a\ntasks: hello", "needs a list", 2),
    "tasks as a mapping": ("name: a\ntasks: {a: 1}", "needs a list", 2),
    "tasks as a set": ("name: a\ntasks: !!set {a}", "needs a list", 2),
    "too many tasks": (f"name: a\ntasks: [{','.join(f't{i}' for i in range(1001))}]", "at most 1,000", 2),
    "a task's name with a space": ("name: a\ntasks: [a b]", "letters, digits", 2),
    "a task that is a number": ("name: a\ntasks: [3]", "needs a mapping", 2),
    "a task that is null": ("name: a\ntasks: [null]", "needs a mapping", 2),
    "two tasks of one name": ("name: a\ntasks:\n  - a\n  - b\n  - a", "two tasks are called 'a'", 5),
    "a cycle": ("name: a\ntasks:\n  - {name: a, needs: [b]}\n  - {name: b, needs: [a]}", "a → b → a", 4),
    "a need of itself": (one("{name: a, needs: [a]}"), "a → a", 3),
    "an unknown need": (
        "name: a\ntasks:\n  - extract\n  - {name: b, needs: [extrct]}",
        "did you mean `extract`?",
        4,
    ),
    "needs a number": (one("{name: a, needs: 3}"), "needs a list", 3),
    "prompt and source": (one("{name: a, prompt: hi, source: 'x=1'}"), "only one of the two", 3),
    "prompt and task": (one("{name: a, prompt: hi, task: b}"), "only one of the two", 3),
    "system without prompt": (one("{name: a, system: hi}"), "has `system` but no `prompt`", 3),
    "output without prompt": (one("{name: a, output: {type: object}}"), "has `output` but no `prompt`", 3),
    "Python that does not parse": (
        one("name: a\n    source: |\n      def x(:"),
        "the Python does not parse",
        4,
    ),
    "a schema that is none": (
        one("{name: a, prompt: x, output: {type: objct}}"),
        "not a JSON Schema at type",
        3,
    ),
    "a schema that is a list": (one("{name: a, prompt: x, output: [1]}"), "needs a mapping", 3),
    "a model without provider": ("name: a\nllm: {model: gpt-5}\ntasks: [a]", "provider:model", 2),
    "a provider without model": ("name: a\nllm: {provider: openai}\ntasks: [a]", "without a `model`", 2),
    "llm as a word": ("name: a\nllm: gpt\ntasks: [a]", "provider:model", 2),
    "temperature out of range": ("name: a\nllm: {temperature: 3}\ntasks: [a]", "less than or equal to 2", 2),
    "budget below zero": ("name: a\nbudget: {usd: -1}\ntasks: [a]", "greater than 0", 2),
    "budget as a number": ("name: a\nbudget: 2\ntasks: [a]", "needs a mapping", 2),
    "no concurrency": (one("{name: a, prompt: x, max_concurrency: 0}"), "greater than or equal to 1", 3),
    "a threshold above one": (one("{name: a, prompt: x, failure_threshold: 2}"), "less than or equal to 1", 3),
    "a timeout below zero": (one("{name: a, timeout: -1}"), "greater than 0", 3),
    "a timeout of letters": (one("{name: a, timeout: soon}"), "needs a number", 3),
    "no attempts": (one("{name: a, retry: {max_attempts: 0}}"), "greater than or equal to 1", 3),
    "cache of another word": (one("{name: a, cache: maybe}"), "`cache` is true, false or refresh", 3),
    "a prompt that is a list of numbers": (one("{name: a, prompt: [1]}"), "needs a mapping", 3),
    "a prompt that is an empty list": (one("{name: a, prompt: []}"), "needs at least 1", 3),
    "a prompt that is a number": (one("{name: a, prompt: 1}"), "needs text", 3),
    "a template without quotes": (
        one("{name: a, prompt: x, for_each: {{ seed.rows }}}"),
        "stands in quotes",
        3,
    ),
    "an anchor": ("name: a\nmetadata: &x {}\ntasks: [a]", "anchors and aliases", 2),
    "a merge key": ("name: a\nmetadata: {<<: {b: 1}}\ntasks: [a]", "a key here is a plain word", 2),
    "a list as a key": ("? [a]\n: b", "a key here is a plain word", 1),
    "a Python tag": ("name: !!python/object/apply:os.system a\ntasks: [a]", "is not read here", 1),
    "an own tag": ("name: !x a\ntasks: [a]", "is not read here", 1),
    "binary": ("name: !!binary aGVsbG8=\ntasks: [a]", "is not read here", 1),
    "not a number": ("name: a\nmetadata: {x: .nan}\ntasks: [a]", "not a number that JSON knows", 2),
    "infinite": ("name: a\nmetadata: {x: 1e400}\ntasks: [a]", "not a number that JSON knows", 2),
    "thousands of digits": (f"name: a\nmetadata: {{x: {'9' * 5000}}}\ntasks: [a]", "that can be read", 2),
    "deep": ("a: " + "[" * 60 + "]" * 60, "nested deeper than 50 levels", 1),
    "deeper than the parser": ("[" * 20_000, "nested deeper", None),
    "shards below one": (
        of_map("shards: -3"),
        "shards: input should be greater than or equal to 1 (given: -3)",
        3,
    ),
    "shards of a word": (of_map("shards: many"), "shards: input should be 'auto' (given: 'many')", 3),
    "unknown field of an operator": (
        of_map("distinct: {similarty: 0.9, similarity: 0.9}"),
        "`similarty` is not a field of distinct; did you mean `similarity`?",
        3,
    ),
    "unknown field of a variant": (
        of_map("variants: {a: {promt: hi}, b: {prompt: ho}}"),
        "`promt` is not a field of a variant; did you mean `prompt`?",
        3,
    ),
    "too much text": ("a" * 2_000_001, "a pipeline may have 2,000,000", None),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_each_malformed_pipeline_has_one_clear_error_with_its_line(case: str) -> None:
    """R2.2, P11."""
    text, says, line = MALFORMED[case]
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline(text)
    assert says in str(caught.value)
    if line is not None:
        assert [v.line for v in caught.value.violations] == [line]
        assert all(v.column and v.column >= 1 for v in caught.value.violations)
        assert str(caught.value).startswith(f"line {line}: ")
    assert len(str(caught.value)) < 400


def test_every_violation_is_told_at_once_in_the_order_of_the_text() -> None:
    """R2.2."""
    text = "nam: a\ntasks:\n  - {name: a, prmpt: hi}\n  - {name: b, timeout: soon}\nversion: one"
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline(text)
    assert [v.line for v in caught.value.violations] == [1, 1, 3, 4, 5]
    assert caught.value.details["violations"][2] == {
        "where": "tasks[0].prmpt",
        "message": "`prmpt` is not a field of a task; did you mean `prompt`?",
        "line": 3,
        "column": 15,
    }


def test_the_whole_of_the_yaml_is_read() -> None:
    """R2.2: everything that DESIGN section 7 shows."""
    pipeline = parse_pipeline(WHOLE)
    classify = pipeline.task("classify")
    assert [t.kind for t in pipeline.tasks] == ["python", "prompt", "python"]
    assert pipeline.needs_of("publish") == ("classify",)
    assert pipeline.needs_of("extract") == ()
    assert classify.gate is not None
    assert classify.gate.artifacts == ("draft.md",)
    assert pipeline.llm_of(classify).model == "anthropic:claude-haiku-4-5"
    assert pipeline.llm_of(classify).max_tokens == 800, "what a task leaves out comes from its pipeline"
    assert classify.config == {"anything": [1, None, True]}
    assert parse_pipeline(json.dumps(pipeline.to_json())) == pipeline, "JSON is the same"


def test_the_first_systems_definition_is_read_unchanged() -> None:
    """DESIGN section 7: `llm: {provider, model}` means `provider:model`."""
    pipeline = validate_pipeline(FIRST_SYSTEM)
    assert pipeline.llm.model == "moonshot:kimi-k2.5"
    assert [t.name for t in pipeline.tasks] == FIRST_SYSTEM["tasks"]
    assert validate_pipeline(pipeline) is pipeline
    again = validate_pipeline(pipeline.to_json())
    assert again == pipeline
    assert again.revision == pipeline.revision


def test_a_name_given_outside_fits_or_is_refused() -> None:
    """DESIGN section 7: a different `name:` in the body is an error."""
    assert parse_pipeline("tasks: [a]", name="tickets").name == "tickets"
    assert parse_pipeline("name: tickets\ntasks: [a]", name="tickets").name == "tickets"
    with pytest.raises(InvalidPipeline, match="'tickets' outside and 'other' in its text") as caught:
        parse_pipeline("tasks: [a]\nname: other", name="tickets")
    assert caught.value.violations[0].line == 2
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline("tasks: [a b]\nname: other", name="tickets")
    assert [v.line for v in caught.value.violations] == [1, 2], "the other violations are told too"


def test_words_of_yaml_1_1_stay_words() -> None:
    """A label `no` or a date is text, as in JSON."""
    pipeline = parse_pipeline("name: a\ntasks: [a]\nmetadata: {x: no, d: 2020-01-01, n: 0o17, t: true, f: 1.5}")
    assert pipeline.metadata == {"x": "no", "d": "2020-01-01", "n": 15, "t": True, "f": 1.5}


def test_what_is_not_json_is_refused_with_its_path() -> None:
    """P4: a definition built in Python holds only JSON."""
    for value, says in (
        (float("inf"), "inf, which JSON"),
        ({1, 2}, "is a set"),
        ({(3,): 4}, "the key (3,)"),
        ("\ud800", "surr"),
    ):
        with pytest.raises(InvalidPipeline, match=re.escape(says)):
            validate_pipeline({"name": "a", "tasks": [{"name": "a", "config": {"x": [value]}}]})


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#\n \t,?%@0.~{{", max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    """P11: whatever is written, the answer is a pipeline or one of our errors."""
    said = "nothing was wrong"
    try:
        parse_pipeline(text)
    except PoError as error:
        said = str(error)
    assert said


_names = st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True), min_size=1, max_size=6, unique=True)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(_names, st.data())
def test_a_definition_comes_back_from_json_as_it_was(names: list[str], data: st.DataObject) -> None:
    """R2.2: the wire and the store carry the same definition, and its revision does not move."""
    tasks = []
    for i, name in enumerate(names):
        task: dict[str, object] = {
            "name": name,
            "config": data.draw(st.dictionaries(st.text(max_size=5), _json, max_size=2)),
        }
        if data.draw(st.booleans()):
            task["prompt"] = data.draw(st.text(max_size=20))
        if i and data.draw(st.booleans()):
            task["needs"] = data.draw(st.lists(st.sampled_from(names[:i]), max_size=2, unique=True))
        tasks.append(task)
    pipeline = validate_pipeline({"name": "p", "tasks": tasks})
    again = validate_pipeline(json.loads(json.dumps(pipeline.to_json())))
    assert again == pipeline
    assert again.revision == pipeline.revision
