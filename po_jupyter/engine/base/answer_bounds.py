"""The bound of an answer where a pipeline sets none: what is sent, and what stands for it in hashes."""

from __future__ import annotations

from po_jupyter.config import Settings
from po_jupyter.llm.specs import specs

_DEFAULT: int = Settings.model_fields["default_max_tokens"].default
_FIRST_DEFAULT = 1024


def default_answer_bound(model: str, settings: Settings) -> int:
    """The bound of an answer of `model`, in tokens: the setting's; of a small model no more than is good for it."""
    spec = specs().get(model.partition(":")[0])
    own = spec.answer_tokens if spec is not None else 0
    bound = settings.default_max_tokens
    return min(bound, own) if own and bound == _DEFAULT else bound


def hashed_answer_bound(settings: Settings) -> int:
    """The bound as it goes into hashes: an own setting, else the first default that there was.

    The default may grow; what was answered under a smaller one is an answer still, and is not paid for again.
    """
    bound = settings.default_max_tokens
    return _FIRST_DEFAULT if bound == _DEFAULT else bound
