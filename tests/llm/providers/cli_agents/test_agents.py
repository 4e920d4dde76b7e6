"""The output of each agent, line by line, and the arguments of its program."""

import pytest

from po_jupyter.llm.providers.catalogue import MODELS
from po_jupyter.llm.providers.cli_agents.agents import AGENTS, AgentOutput
from po_jupyter.llm.specs import specs


def read(name, *events):
    output = AgentOutput()
    shown = "".join(AGENTS[name].read_line(event, output) for event in events)
    return output, shown


def test_every_agent_is_in_the_table_of_providers():
    assert set(AGENTS) == {name for name, spec in specs().items() if spec.runs_code} <= MODELS.keys()


@pytest.mark.parametrize("name", sorted(AGENTS))
@pytest.mark.parametrize(
    "event", [{}, {"type": None}, {"type": "result"}, {"type": "text", "part": 3}, {"type": "error"}]
)
def test_no_line_however_odd_breaks_the_reader(name, event):
    output, shown = read(name, event, event)
    assert isinstance(output.error, str) and shown == ""


def test_a_failed_result_of_claude_is_an_error():
    output, _ = read(
        "claude-cli", {"type": "result", "subtype": "error_max_turns", "result": None, "usage": {}}
    )
    assert (output.error, output.ended) == ("error_max_turns", True) and output.usage.cost is None


def test_the_last_message_of_codex_is_the_answer():
    item = {"type": "item.completed", "item": {"type": "agent_message", "text": "I shall count."}}
    last = {"type": "item.completed", "item": {"type": "agent_message", "text": "three"}}
    assert read("codex-cli", item, last)[0].text == "three"
    assert read("codex-cli", {"type": "turn.failed"})[0].error == "the turn failed"


def test_the_steps_of_opencode_are_one_call():
    step = {"type": "step_finish", "part": {"tokens": {"input": 5, "output": 4, "reasoning": 3}, "cost": 0.25}}
    usage = read("opencode-cli", step, step)[0].usage
    assert (usage.calls, usage.input_tokens, usage.output_tokens, usage.cost) == (1, 10, 14, 0.5)


def test_the_prompt_is_in_no_command_line_but_claudes_system_prompt():
    assert AGENTS["claude-cli"].arguments("m", "be short", False)[-2:] == ["--system-prompt", "be short"]
    assert AGENTS["codex-cli"].arguments("", "x", True)[-1] == "-" and "x" not in AGENTS["codex-cli"].arguments(
        "", "x", True
    )
    assert AGENTS["opencode-cli"].arguments("m", "x", True)[-2:] == ["--model", "m"]
