"""Tasks that ask a model and need no code: a `prompt` and perhaps `system`, `output` and `refine`; or `embed`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any

from po_jupyter.engine.base.threads import OffLoop
from po_jupyter.engine.chat.embedding import embedding_request, vector_of
from po_jupyter.engine.chat.tool_loop import run_tool_loop
from po_jupyter.engine.files.images import load_images
from po_jupyter.engine.files.named_files import NamedFile
from po_jupyter.engine.lifecycle.frame import Frame, StageResult
from po_jupyter.engine.lifecycle.stages import Stage
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.prompts.condition import Condition
from po_jupyter.engine.prompts.output_type import load_check
from po_jupyter.engine.prompts.templates import PromptTemplate
from po_jupyter.errors import OutputInvalid
from po_jupyter.llm.chat import ChatResponse, Message
from po_jupyter.llm.logprobs import label_probability
from po_jupyter.llm.structured.parsing import (
    AnswerValidator,
    answer_validator,
    readable_text,
    reask,
    speakable,
)
from po_jupyter.model.pipeline.evals.confidence import CONFIDENCE, label_field
from po_jupyter.model.pipeline.pipeline import CascadeStep, PromptText, Task
from po_jupyter.model.values.json import JsonValue

_LONG_ANSWER = 200_000  # characters; reading it takes more than 10 ms


class PromptTask:
    """A task with a `prompt` or `embed`, its templates and schema compiled; one for all attempts and rows.

    `is_costly`: a template of its messages may take long (`PromptTemplate.is_costly`); `critique`: the template of
    `refine.critique`; `conditions`: those under which each model of a cascade is asked;
    `answer`: reads and judges answers, None without an `output`; `judge`: calls it where that may take long, for it
    runs code of the user's, matches patterns or goes through alternatives of alternatives; else None.
    """

    def __init__(self, task: Task, off_loop: OffLoop = asyncio.to_thread) -> None:
        """Compile the templates and the schema of `task`. Raises TemplateFailed.

        `off_loop` calls code of the user's, as that of the `output_type` is.
        """
        self.task = task
        turns = (
            []
            if task.system is None
            else [("system", PromptTemplate(task.system, task=task.name, field="system"))]
        )
        if task.embed is not None:
            turns.append(("user", PromptTemplate(task.embed, task=task.name, field="embed")))
        elif isinstance(task.prompt, tuple):
            turns += [
                (turn.role, PromptTemplate(turn.content, task=task.name, field=f"prompt[{i}].content"))
                for i, turn in enumerate(task.prompt)
            ]
        else:
            turns.append(("user", PromptTemplate(task.prompt or "", task=task.name)))
        self._turns: list[tuple[Any, PromptTemplate]] = turns
        self._images = [
            PromptTemplate(text, task=task.name, field=f"images[{i}]") for i, text in enumerate(task.images)
        ]
        self._files = [
            PromptTemplate(text, task=task.name, field=f"files[{i}]") for i, text in enumerate(task.files)
        ]
        critique = task.refine.critique
        self.critique = (
            PromptTemplate(critique, task=task.name, field="refine.critique") if critique is not None else None
        )
        self.conditions = tuple(
            Condition(llm.when, task=task.name, field=f"llm[{n}].when")
            if isinstance(llm, CascadeStep) and llm.when is not None
            else None
            for n, llm in enumerate(task.llms)
        )
        self.answer = answer_validator(task.output) if task.output is not None else None
        self._label = label_field(task.output) if task.confidence is not None else None
        self._off_loop = off_loop
        self.is_costly = any(template.is_costly for _, template in turns)
        self.judge = off_loop if self.answer is not None and self.answer.may_be_slow else None
        self._loaded = task.output_type is None

    async def load(self) -> None:
        """Load the validators of the `output_type`, before anything is sent. Raises StageFailed."""
        if not self._loaded and self.answer is not None:
            check = await self._off_loop(load_check, self.task)
            self.answer, self.judge, self._loaded = self.answer.with_check(check), self._off_loop, True

    def with_prompt(self, prompt: PromptText) -> PromptTask:
        """The same task with another prompt; `load` it. Raises TemplateFailed."""
        return self.of_task(self.task.model_copy(update={"prompt": prompt}))

    def of_task(self, task: Task) -> PromptTask:
        """That of another task, whose code runs where this one's does; `load` it. Raises TemplateFailed."""
        return PromptTask(task, self._off_loop)

    def judge_of(self, text: str) -> OffLoop | None:
        """As `judge`, for this answer: a very long one is read in a thread too."""
        return self._off_loop if len(text) > _LONG_ANSWER else self.judge

    async def critique_of(self, names: Mapping[str, JsonValue]) -> str:
        """The text of the critique; one that may take long is rendered in a thread. Raises TemplateFailed."""
        assert self.critique is not None
        if self.critique.is_costly:
            text: str = await self._off_loop(self.critique.render, names)
            return text
        return self.critique.render(names)

    @property
    def reads_item(self) -> bool:
        """Whether a condition of its cascade sees the row, and not only what the prompt says of it."""
        return any(
            condition is not None and {"item", "index"} & condition.names for condition in self.conditions
        )

    @property
    def has_files(self) -> bool:
        """Whether the task shows images or documents with its prompt."""
        return bool(self._images or self._files)

    def first(self, names: Mapping[str, JsonValue]) -> tuple[Message, ...]:
        """The messages of the first request. Raises TemplateFailed."""
        return tuple([Message(role, prompt.render(names)) for role, prompt in self._turns])

    def images(self, names: Mapping[str, JsonValue]) -> tuple[NamedFile, ...]:
        """The images of the last turn, by URL or name; empty texts are left out. Raises TemplateFailed."""
        return _named(self._images, names)

    def files(self, names: Mapping[str, JsonValue]) -> tuple[NamedFile, ...]:
        """The documents of the last turn, as `images`."""
        return _named(self._files, names)

    def with_confidence(self, value: JsonValue, response: ChatResponse | None) -> JsonValue:
        """The value of an answer, with its confidence where the task has that."""
        label = self._label
        if label is None or not isinstance(value, dict) or response is None:
            return value
        found = label_probability(response.logprobs, label.name, value.get(label.name), label.labels)
        return {**value, CONFIDENCE: None if found is None else round(found, 6)}

    def stages(
        self,
        calls: ModelCalls,
        names: Mapping[str, JsonValue],
        *,
        first: tuple[Message, ...] | None = None,
        off_loop: OffLoop | None = None,
    ) -> dict[str, Stage]:
        """The stages of one attempt; `names` are what the templates see.

        `first` are the messages of the first request where they were rendered already; `off_loop` renders them
        in a thread where that has to read much.
        """
        attempt = _PromptAttempt(self, calls, names, first, off_loop)
        stages: dict[str, Stage] = {
            "prompt_templating": attempt.prompt_templating,
            "inference": attempt.inference,
        }
        if self.answer is not None:
            stages["parsing"] = attempt.parsing
            stages["validate_structure"] = attempt.validate_structure
        if self.critique is not None:
            stages["critique"] = attempt.critique
        return stages


def _named(templates: list[PromptTemplate], names: Mapping[str, JsonValue]) -> tuple[NamedFile, ...]:
    rendered = [template.render(names).strip() for template in templates]
    return tuple([NamedFile(text) for text in rendered if text])


class _PromptAttempt:
    """The stages of one attempt of a prompt task, and the conversation that they build up."""

    __slots__ = (
        "_calls",
        "_first",
        "_messages",
        "_names",
        "_off_loop",
        "_prompts",
        "_remark",
        "_response",
        "_text",
        "_violations",
    )

    def __init__(
        self,
        prompts: PromptTask,
        calls: ModelCalls,
        names: Mapping[str, JsonValue],
        first: tuple[Message, ...] | None,
        off_loop: OffLoop | None,
    ) -> None:
        """See `PromptTask.stages`."""
        self._prompts = prompts
        self._calls = calls
        self._names = names
        self._first = first
        self._off_loop = off_loop
        self._messages: list[Message] = []
        self._text = ""  # the last answer, as the model wrote it
        self._response: ChatResponse | None = None  # the last answer
        self._violations: list[str] = []  # of the last answer
        self._remark = ""  # of the critique, for the next question

    def prompt_templating(self, frame: Frame) -> Awaitable[None] | None:
        """The first messages, or the question that asks again with what was wrong."""
        if frame.round:
            self._ask_again(frame)
            return None
        if self._prompts.has_files or (self._first is None and self._off_loop is not None):
            return self._render()
        self._messages.extend(self._prompts.first(self._names) if self._first is None else self._first)
        return None

    async def _render(self) -> None:
        messages = self._messages
        if self._first is not None:
            messages.extend(self._first)
        elif self._off_loop is not None:
            messages.extend(await self._off_loop(self._prompts.first, self._names))
        else:
            messages.extend(self._prompts.first(self._names))
        if image_names := self._prompts.images(self._names):
            self._calls.need_images(self._calls.request(tuple(messages)))
            messages[-1] = replace(messages[-1], images=await load_images(image_names, self._calls.files()))
        if file_names := self._prompts.files(self._names):
            from po_jupyter.engine.files.documents import load_documents  # rare, and workers import this module

            self._calls.need_files(self._calls.request(tuple(messages)))
            messages[-1] = replace(messages[-1], files=await load_documents(file_names, self._calls.files()))
            self._calls.need_files(self._calls.request(tuple(messages)))

    def _ask_again(self, frame: Frame) -> None:
        question = reask(frame.violations)
        assert self._response is not None
        self._messages.append(self._response.message)
        self._messages.append(Message("user", f"{self._remark}\n\n{question}" if self._remark else question))
        self._remark = ""

    async def inference(self, frame: Frame) -> str | list[float]:
        """The model's answer, after the rounds of tools that it wants; or the vector of the text."""
        task, calls = self._prompts.task, self._calls
        if task.embed is not None:
            request = embedding_request(calls.request(()), self._messages[-1].content)
            return vector_of(await calls.chat(request, stage="inference", frame=frame))
        request = calls.request(tuple(self._messages), schema=task.output)
        if not task.tools:
            response = await calls.chat(request, stage="inference", frame=frame, stream=True)
        else:
            result = await run_tool_loop(
                calls, request, calls.toolbox(task.tools), task.max_tool_rounds,
                stage="inference", frame=frame, stream=True,
            )  # fmt: skip
            response = result.response
            self._messages.extend(result.turns)
        self._text, self._response = response.text, response
        return readable_text(self._text) if self._prompts.answer is None else speakable(self._text)

    def parsing(self, frame: Frame) -> StageResult | Awaitable[StageResult]:
        """The JSON value of the answer, which may be null. Raises AnswerUnreadable."""
        answer, judge = self._prompts.answer, self._prompts.judge_of(self._text)
        assert answer is not None
        if judge is not None:
            return self._parse_off_loop(answer, judge)
        value, self._violations = answer.read(self._text)
        return StageResult(self._prompts.with_confidence(value, self._response))

    async def _parse_off_loop(self, answer: AnswerValidator, judge: OffLoop) -> StageResult:
        value, self._violations = await judge(answer.read, self._text)
        return StageResult(self._prompts.with_confidence(value, self._response))

    def validate_structure(self, frame: Frame) -> None:
        """Judge the answer by the task's schema and the validators of its class. Raises OutputInvalid."""
        if self._violations:
            raise OutputInvalid(self._violations[0], details={"violations": self._violations})

    async def critique(self, frame: Frame) -> None:
        """Ask the model what is wrong with its answer."""
        assert self._prompts.critique is not None
        names = {**self._names, "output": frame.output, "violations": frame.violations}
        text = await self._prompts.critique_of(names)
        request = self._calls.request((Message("user", text),))
        response = await self._calls.chat(request, stage="critique", frame=frame)
        self._remark = speakable(response.text)
