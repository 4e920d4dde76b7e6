"""Options of a question to a table, the same for all operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from po_jupyter.client.client import Client
from po_jupyter.client.inputs.control_bodies import BudgetInput
from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline.violations import did_you_mean


class TableOptions(TypedDict, total=False):
    """What the operations on tables take besides the table and the question.

    model: a ref, `openai:gpt-5-mini`; by default that of the settings.
    system: the system message, a template as the prompt.
    images: templates of pictures to show with each row.
    files: templates of PDF, WAV and MP3 files to show with each row.
    temperature, max_tokens, effort: settings of the model.
    confidence: `logprobs` for the probability of the label, as the column `confidence`.
    max_concurrency: rows that are asked at the same time (5).
    failure_threshold: the part of the rows that may fail before no more are asked (all but one).
    budget: US dollars, or a `Budget`: the most that all rows together may cost.
    limit: only the first rows; the others are not in the result either.
    fresh: ask anew what was asked before.
    mode: `batch` hands the rows to the provider's batch API, at half the price, within a day.
    name: the name of the pipeline and of its task.
    timeout: seconds to wait; the run goes on after TimeoutError.
    wait: False returns the `Run` at once, and no table.
    skip_validation: start although a key or the like is missing.
    client: of `po.connect()`; by default one of the process.
    """

    model: str
    system: str
    images: Sequence[str]
    files: Sequence[str]
    temperature: float
    max_tokens: int
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
    confidence: Literal["logprobs"] | None
    max_concurrency: int
    failure_threshold: float
    budget: BudgetInput | None
    limit: int | None
    fresh: bool
    mode: Literal["batch"] | None
    name: str
    timeout: float | None
    wait: bool
    skip_validation: bool
    client: Client | None


_KNOWN = tuple(TableOptions.__annotations__)
MODEL_OPTIONS = ("model", "temperature", "max_tokens", "effort")
TASK_OPTIONS = ("system", "images", "files", "confidence", "max_concurrency", "failure_threshold", "mode")


def check_options(options: Mapping[str, Any]) -> None:
    """Raise InvalidInput for an option that there is none of, and for a limit that is no number of rows."""
    for name in options:
        if name not in _KNOWN:
            raise InvalidInput(
                f"there is no option `{name}`{did_you_mean(name, _KNOWN)}",
                hint=f"Options are: {', '.join(_KNOWN)}.",
            )
    limit = options.get("limit")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidInput(f"`limit` is a number of rows from 1 on, not {limit!r:.40}")
