"""Prompt tasks: stages that need no code, only a `prompt` and perhaps `system`, `output` and `refine`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from po_jupyter.engine.chat.tool_loop import run_tool_loop
from po_jupyter.engine.files.images import Named, load_all
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import Stage
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.prompts.templates import Prompt
from po_jupyter.errors import AnswerUnreadable, OutputInvalid
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.structured.parsing import answer_validator, reask
from po_jupyter.model.pipeline.pipeline import Task

OffLoop = Callable[..., Awaitable[Any]]


class PromptTask:
    """A prompt task with its templates and schema compiled; one for all attempts and rows."""

    def __init__(self, task: Task) -> None:
        self.task = task
        turns = [] if task.system is None else [("system", Prompt(task.system, task=task.name, field="system"))]
        if isinstance(task.prompt, tuple):
            turns += [
                (turn.role, Prompt(turn.content, task=task.name, field=f"prompt[{i}].content"))
                for i, turn in enumerate(task.prompt)
            ]
        else:
            turns.append(("user", Prompt(task.prompt or "", task=task.name)))
        self._turns: list[tuple[Any, Prompt]] = turns
        self._images = [
            Prompt(text, task=task.name, field=f"images[{i}]") for i, text in enumerate(task.images)
        ]
        critique = task.refine.critique
        self._critique = (
            Prompt(critique, task=task.name, field="refine.critique") if critique is not None else None
        )
        self._answer = answer_validator(task.output) if task.output is not None else None
        kinds = (task.output or {}).get("type")
        self._free_text = kinds == "string" or (isinstance(kinds, list) and "string" in kinds)

    def first(self, names: Mapping[str, Any]) -> tuple[Message, ...]:
        """The messages of the first request. Raises TemplateFailed."""
        return tuple([Message(role, prompt.render(names)) for role, prompt in self._turns])

    def images(self, names: Mapping[str, Any]) -> tuple[Named, ...]:
        """What is shown with the last turn, by URL or name; empty texts are left out. Raises TemplateFailed."""
        rendered = [template.render(names).strip() for template in self._images]
        return tuple([Named(text) for text in rendered if text])

    def stages(
        self,
        calls: ModelCalls,
        names: Mapping[str, Any],
        *,
        first: tuple[Message, ...] | None = None,
        off_loop: OffLoop | None = None,
    ) -> dict[str, Stage]:
        """The stages of one attempt; `names` are what the templates see.

        `first` are the messages of the first request where they were rendered already; `off_loop` renders them
        in a thread where that has to read much.
        """
        task, answer = self.task, self._answer
        asked: list[Message] = []
        text = ""
        turn: Message | None = None
        remark = ""

        async def render() -> None:
            if first is not None:
                asked.extend(first)
            elif off_loop is not None:
                asked.extend(await off_loop(self.first, names))
            else:
                asked.extend(self.first(names))
            if self._images and (named := self.images(names)):
                calls.need_images(calls.request(tuple(asked)))
                asked[-1] = replace(asked[-1], images=await load_all(named, calls.files()))

        def prompt_templating(frame: Frame) -> Any:
            nonlocal remark
            if frame.round == 0 and (self._images or (first is None and off_loop is not None)):
                return render()
            if frame.round == 0:
                asked.extend(self.first(names) if first is None else first)
            else:
                words = reask(frame.violations)
                assert turn is not None
                asked.append(turn)
                asked.append(Message("user", f"{remark}\n\n{words}" if remark else words))
                remark = ""
            return None

        async def inference(frame: Frame) -> Any:
            nonlocal text, turn
            request = calls.request(tuple(asked), schema=task.output)
            if not task.tools:
                response = await calls.chat(request, stage="inference", frame=frame, stream=True)
            else:
                result = await run_tool_loop(
                    calls, request, calls.toolbox(task.tools), task.max_tool_rounds,
                    stage="inference", frame=frame, stream=True,
                )  # fmt: skip
                response = result.response
                asked.extend(result.turns)
            text, turn = response.text, response.message
            return text

        def parsing(frame: Frame) -> Any:
            assert answer is not None
            try:
                return answer.parse(text)
            except AnswerUnreadable:
                if self._free_text:
                    return text
                raise

        def validate_structure(frame: Frame) -> None:
            assert answer is not None
            found = answer.violations(frame.output)
            if found:
                raise OutputInvalid(found[0], details={"violations": found})

        async def critique(frame: Frame) -> None:
            nonlocal remark
            assert self._critique is not None
            seen = {**names, "output": frame.output, "violations": frame.violations}
            request: ChatRequest = calls.request((Message("user", self._critique.render(seen)),))
            response = await calls.chat(request, stage="critique", frame=frame)
            remark = response.text

        stages: dict[str, Stage] = {"prompt_templating": prompt_templating, "inference": inference}
        if answer is not None:
            stages["parsing"] = parsing
            stages["validate_structure"] = validate_structure
        if self._critique is not None:
            stages["critique"] = critique
        return stages
