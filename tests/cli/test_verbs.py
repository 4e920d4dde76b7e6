"""What each verb sends, prints and exits with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.client.async_client import TextDelta
from po_jupyter.model.run.seed import Seed
from tests.support.cli import FakeRun
from tests.support.cli import make_view as view


def fake_run(*updates: Any) -> FakeRun:
    return FakeRun(list(updates))


FAILED = {"code": "stage_failed", "message": "it broke\nin two lines", "hint": "mend it"}
GATE = {"task": "extract", "message": "Look before we send"}


def test_the_audit_shows_no_stars_that_tell_nothing(po: Any, client: Any) -> None:
    """G7: a client's own name for a request is masked in the log, so a column of it is only noise."""
    entry = {"at": "2026-11-22T17:00:00Z", "by": "local", "action": "submit", "run": "0192f0deadbe7f3a"}
    client.audit = lambda limit: [{**entry, "pipeline": "tickets", "idempotency_key": "********"}]
    _, out, _ = po("audit")
    assert "pipeline=tickets" in out and "***" not in out
    assert "idempotency_key" in po("audit", "--json")[1]


def test_plain_lines_say_once_that_the_store_is_waited_for(po: Any, client: Any) -> None:
    """P11, R1.7: on a full disk a run of `po run` in a pipe is not silent."""
    full = [view("running", waiting=f"the run waits: the disk is full (try {n})") for n in (1, 2)]
    client.runs_there = [FakeRun([*full, view("running"), full[0], view()])]
    code, out, _ = po("show", "7f3a")
    assert code == 0
    assert [line.strip() for line in out.splitlines() if "the disk is full" in line] == [
        "the run waits: the disk is full (try 1)"
    ] * 2


def test_run_follows_in_plain_lines_and_ends_with_the_states_code(po: Any, client: Any) -> None:
    client.runs_there = [
        fake_run(view("pending"), view("running"), TextDelta("r", "label", 2, "hel", 0), view("done"))
    ]
    code, out, err = po(
        "run", "tickets", "--seed", '[{"text": "a"}]', "--limit", "3", "--budget", "2", "--fresh"
    )
    assert code == 0
    assert err == ""
    pipeline, seed, options = client.submitted[0]
    assert pipeline.name == "tickets"
    assert seed == [{"text": "a"}]
    assert options == {
        "limit": 3, "budget": {"usd": 2.0}, "fresh": True, "idempotency_key": None, "priority": None,
        "cache": None, "skip_validation": False, "model": None,
    }  # fmt: skip
    assert "tickets 1.0.0 · run be7f3a" in out
    assert "label done" in out
    assert "18.2k tokens" in out
    assert "$0.043" in out
    assert "label failed on 1 of 4 rows" in out
    assert "po resume be7f3a --only-failed" in out
    assert "row 2" not in out, "streamed text is for terminals"


@pytest.mark.parametrize(
    ("state", "more", "code", "says"),
    [
        ("done", {}, 0, "label done"),
        ("failed", {"error": FAILED}, 1, "it broke"),
        ("cancelled", {}, 1, "cancelled"),
        ("dead", {"error": FAILED}, 1, "po resume"),
        ("waiting", {"gate": GATE}, 4, "Look before we send"),
    ],
)
def test_the_exit_code_tells_how_it_ended(
    state: str, more: dict[str, Any], code: int, says: str, po: Any, client: Any
) -> None:
    """R1.4: documented in `po --help`."""
    client.runs_there = [fake_run(view("running"), view(state, **more))]
    got, out, _ = po("run", "tickets")
    assert got == code
    assert says in out
    client.runs_there = [fake_run(view("running"), view(state, **more))]
    got, out, err = po("run", "tickets", "--json")
    assert got == code
    assert json.loads(out)["state"] == state
    assert err == ""


def test_an_interrupt_detaches_and_says_how_to_come_back(po: Any, client: Any) -> None:
    """P12: the run goes on."""
    run = fake_run(view("running"), KeyboardInterrupt())
    client.runs_there = [run]
    code, _, err = po("run", "tickets")
    assert code == 130
    assert run.asked == []
    assert f"detached; the run goes on: po show {run.short}" in err


def test_no_follow_returns_at_once(po: Any, client: Any) -> None:
    client.runs_there = [fake_run(view("pending"))]
    code, out, _ = po("run", "tickets", "--no-follow")
    assert code == 0
    assert "started: po show" in out
    code, out, _ = po("run", "tickets", "--no-wait", "--json")
    assert code == 0
    assert json.loads(out)["state"] == "pending"


def test_a_model_of_the_command_line_is_the_runs_and_leaves_the_definition(
    po: Any, client: Any, tmp_path: Path
) -> None:
    """B6: the run's model wins over those of the pipeline and its tasks, which stay what they were."""
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: p\nllm: {model: 'a:b', temperature: 0.1}\ntasks:\n  - {name: x, prompt: x}\n"
        "  - {name: y, prompt: y, llm: 'c:d'}\n"
    )
    client.runs_there = [fake_run(view())]
    assert po("run", str(file), "--model", "openai:gpt-5-mini")[0] == 0
    pipeline, how = client.submitted[0][0], client.submitted[0][-1]
    assert how["model"] == "openai:gpt-5-mini"
    assert pipeline.llm_of(pipeline.task("x")).model == "a:b"
    assert pipeline.llm_of(pipeline.task("y")).model == "c:d"
    code, _, err = po("run", str(file), "--model", "gpt")
    assert code == 2
    assert "provider:model" in err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json", '[{"a": "1"}, {"a": "2"}]'),
        ("rows.jsonl", '{"a": "1"}\n\n{"a": "2"}\n'),
        ("rows.csv", "a\n1\n2\n"),
    ],
)
def test_rows_come_from_files(name: str, text: str, po: Any, client: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text("\ufeff" + text, "utf-8")
    client.runs_there = [fake_run(view())]
    assert po("run", "tickets", "--seed", f"@{tmp_path / name}")[0] == 0
    assert client.submitted[0][1] == [{"a": "1"}, {"a": "2"}]


def test_submit_takes_the_envelope(po: Any, client: Any, tmp_path: Path) -> None:
    """R1.1: files hold the envelope."""
    file = tmp_path / "a-seed.json"
    file.write_text('{"name": "a", "pipeline": "tickets", "data": {"x": 1}}')
    client.runs_there = [fake_run(view())]
    assert po("submit", str(file), "--key", "k1")[0] == 0
    pipeline, seed, options = client.submitted[0]
    assert seed == Seed(name="a", pipeline="tickets", data={"x": 1})
    assert pipeline.name == "tickets"
    assert options["idempotency_key"] == "k1"


def test_runs_is_a_table_and_json(po: Any, client: Any) -> None:
    assert "no runs yet" in po("runs")[1]
    client.runs_there = [fake_run(view("done", name="A\x1b[31m ticket\nwith lines"))]
    code, out, _ = po("runs")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "done" in out
    assert "2/2" in out
    assert "\x1b" not in out
    assert "41.5 s" in out
    assert json.loads(po("runs", "--json")[1])[0]["pipeline"] == "tickets"
    assert "no runs like that" in po("runs", "--state", "dead")[1]


def test_status_of_the_orchestrator_and_of_a_run(po: Any, client: Any) -> None:
    client.runs_there = [fake_run(view("running"))]
    code, out, _ = po("status")
    assert code == 0
    assert "/data" in out
    assert "1 running" in out
    assert "http://127.0.0.1:1/" in out
    assert json.loads(po("status", "--json")[1])["live"] == ["running"]
    client.runs_there = [fake_run(view("failed", error=FAILED))]
    code, out, _ = po("status", "7f3a")
    assert code == 1
    assert "it broke" in out
    assert "mend it" in out
    assert po("status", "7f3a", "--json")[0] == 1


def test_show_prints_results_failures_and_outputs(po: Any, client: Any) -> None:
    run = fake_run(view())
    run.failed_rows = [
        {"index": 2, "ok": False, "output": None, "error": {"message": "no label\x1b[2J", "hint": "ask"}}
    ]
    client.runs_there = [run]
    code, out, _ = po("show", "7f3a")
    assert code == 0
    assert '{"label": "bug"}' in out
    assert "--output label" in out
    code, out, _ = po("show", "7f3a", "--failed")
    assert code == 0
    assert "label row 2: no label" in out
    assert "\x1b" not in out
    assert "resume" in out
    assert json.loads(po("show", "7f3a", "--failed", "--json")[1])[0]["task"] == "label"
    assert json.loads(po("show", "7f3a", "--output", "label")[1]) == run.outputs["label"]
    assert json.loads(po("show", "7f3a", "--json")[1])["id"] == run.id


def test_logs_are_lines_or_json_lines(po: Any, client: Any) -> None:
    run = fake_run(view())
    run.history = [
        {"offset": 1, "at": "2026-11-22T12:00:00.000Z", "type": "run.created", "data": {"pipeline": "tickets"}},
        {"offset": 2, "at": "2026-11-22T12:00:01.000Z", "type": "item.failed", "task": "label", "item": 3,
         "data": {"error": {"message": "bad\x07 row"}}},
    ]  # fmt: skip
    client.runs_there = [run]
    _, out, _ = po("logs", "7f3a")
    assert "12:00:01.000" in out
    assert "label row 3" in out
    assert "row" in out
    assert "\x07" not in out
    _, out, _ = po("logs", "7f3a", "--since", "1", "--json")
    assert [json.loads(line)["offset"] for line in out.splitlines()] == [2]


def test_the_orchestrators_log_is_found(po: Any, tmp_path: Path) -> None:
    code, _, err = po("logs")
    assert code == 3
    assert "no log" in err
    (tmp_path / "data" / "logs").mkdir(parents=True)
    (tmp_path / "data" / "logs" / "orchestrator.log").write_text("one\ntwo\nthree\n")
    code, out, _ = po("logs", "--lines", "2")
    assert code == 0
    assert out.split() == ["two", "three"]


def test_decisions_go_to_the_run(po: Any, client: Any) -> None:
    run = fake_run(view("done"))
    client.runs_there = [run]
    assert po("cancel", "7f3a")[0] == 0
    assert po("resume", "7f3a", "--from-task", "label", "--budget", "5", "--no-follow")[0] == 0
    assert po("resume", "7f3a", "--only-failed")[0] == 0
    assert po("approve", "7f3a", "--note", "fine")[0] == 0
    assert po("reject", "7f3a", "--note", "no")[0] == 0
    assert run.asked[:5] == [
        ("cancel", None),
        ("resume", {"from_task": "label", "only_failed": False, "budget": {"usd": 5.0}}),
        ("resume", {"from_task": None, "only_failed": True, "budget": None}),
        ("approve", "fine"),
        ("reject", "no"),
    ]


def test_validate_says_what_it_could_not_check(po: Any, client: Any, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("name: p\ntasks: [{name: a, prompt: x, for_each: '{{ seed.rows }}'}, json]")
    code, out, _ = po("validate", str(file))
    assert code == 0
    assert "p 1.0.0 is valid: a (prompt, for each row), json (python)" in out
    assert "be careful" in out
    client.running = False
    code, out, _ = po("validate", str(file), "--json")
    assert code == 0
    assert "were not checked" in json.loads(out)["warnings"][0]


def test_config_shows_no_secret_of_a_url(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """P10: servers of tools are often reached with a token in their address."""
    servers = {"x": {"url": "https://me:hush@tools.test/mcp?token=hush"}}
    monkeypatch.setenv("PO_MCP_SERVERS", json.dumps(servers))
    for args in (["config"], ["config", "--json"]):
        assert "hush" not in po(*args)[1]
    assert json.loads(po("config", "--json")[1])["mcp_servers"]["value"]["x"]["url"] == "https://tools.test/mcp"


def test_config_says_each_value_and_its_source(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R2.1; P10: secrets are stars."""
    monkeypatch.setenv("PO_AUTH_TOKEN", "hunter2hunter2")
    monkeypatch.setenv("PO_MAX_RUNNING", "3")
    for args in (["config"], ["config", "show"]):
        code, out, _ = po(*args)
        assert code == 0
        assert "PO_MAX_RUNNING" in out
        assert "hunter2" not in out
        assert "********" in out
    shown = json.loads(po("config", "--json")[1])
    assert shown["max_running"] == {"value": 3, "source": "PO_MAX_RUNNING"}
    assert "max_running" in json.loads(po("config", "schema")[1])["properties"]
    monkeypatch.setenv("PO_MAX_RUNNING", "none")
    code, _, err = po("config")
    assert code == 2
    assert "PO_MAX_RUNNING" in err


def test_the_doctor_says_what_to_do_and_no_secret(
    po: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2.5, P10."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("PO_MAX_RUNING", "3")
    client.running = False
    code, out, _ = po("doctor")
    assert "key … from the environment" in out
    assert "sk-very" not in out
    assert "did you mean `PO_MAX_RUNNING`?" in out
    assert "`po start` starts one" in out
    found = {f["what"]: f for f in json.loads(po("doctor", "--json")[1])}
    assert found["data directory"]["verdict"] == "ok"
    assert found["python"]["verdict"] == "ok"
    assert all(f["todo"] for f in found.values() if f["verdict"] == "bad")
    assert code == (1 if any(f["verdict"] == "bad" for f in found.values()) else 0)


def test_the_doctor_sees_a_data_directory_that_cannot_be(
    po: Any, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "file" / "data"))
    code, out, _ = po("doctor")
    assert code == 1
    assert "cannot be made" in out
    assert "Set PO_DATA_DIR" in out


def test_models_and_pipelines_are_listed(po: Any, client: Any) -> None:
    code, out, _ = po("models")
    assert code == 0
    assert "local:smollm2-135m" in out
    assert "no: ANTHROPIC_API_KEY is not set" in out
    assert {"openai", "local"} <= {m["provider"] for m in json.loads(po("models", "--json")[1])}
    assert "abcdef123456" in po("pipelines")[1]
    assert json.loads(po("pipelines", "--json")[1])[0]["name"] == "tickets"


def test_an_estimate_starts_nothing_by_either_name(po: Any, client: Any) -> None:
    """G1: `po estimate` and `po run --dry-run` say the same, marked as an estimate."""
    said = []
    for words in (["estimate", "tickets"], ["run", "tickets", "--dry-run"]):
        code, out, _ = po(*words, "--seed", '[{"text": "a"}]', "--limit", "2")
        assert code == 0
        assert client.estimated == ("tickets", [{"text": "a"}], 2)
        said.append(out)
    assert said[0] == said[1]
    assert "tickets (estimate, nothing was started): at least 3 calls" in said[0]
    assert "not in these numbers: the price of x" in said[0]
    assert client.submitted == []
    code, out, _ = po("estimate", "tickets", "--json")
    assert json.loads(out)["cost"]["worst"] == 0.25


def test_budgets_of_a_run_and_of_its_tasks(po: Any, client: Any) -> None:
    """G1."""
    client.runs_there = [fake_run(view("failed"))]
    po("resume", "be7f3a", "--budget", "5", "--budget", "label=0.5", "--no-follow")
    (_, options), *_ = client.runs_there[0].asked
    assert options["budget"] == {"usd": 5.0, "tasks": {"label": {"usd": 0.5}}}


def test_logs_of_a_stage_are_safe_to_print(po: Any, client: Any) -> None:
    """B5, P6."""
    client.runs_there = [fake_run(view())]
    code, out, _ = po("logs", "be7f3a", "--task", "label", "--stage", "inference")
    assert code == 0
    assert client.runs_there[0].asked == [("logs", ("label", "inference"))]
    assert "label/inference.log (its end; 99,999 bytes)" in out
    assert "\x1b" not in out
    assert po("logs", "--task", "x")[0] == 2


def test_a_budget_that_is_nearly_spent_is_said(po: Any, client: Any) -> None:
    """G1: 80 %, in the words that the cell and the panel have too."""
    warning = {"scope": "run", "fraction": 0.834, "used": {"usd": 1.7, "tokens": 5}, "budget": {"usd": 2.0}}
    client.runs_there = [fake_run(view("waiting", warnings=[warning], budget={"usd": 2.0}))]
    _, out, _ = po("status", "be7f3a")
    assert "83 % of the budget used" in out


def test_usage_says_what_is_not_in_the_sum(po: Any, client: Any) -> None:
    """Issue "Tokens and money": unknown prices are shown as unknown, never as zero."""
    code, out, err = po("usage")
    assert (code, err) == (0, "")
    assert "2026-11-22  1,012  402,118    204  $1.20 + 3 calls of unknown price" in out
    assert "openai" not in out
    assert "  openai:gpt-5-mini" in po("usage", "--by-model")[1]
    assert json.loads(po("usage", "--json")[1])["total"]["unpriced"] == 3
    out = po("usage", "--days", "7")[1]
    assert "  ada" in out and "  bob" in out
