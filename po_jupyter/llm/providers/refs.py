"""Checks of model refs (`provider:model`) and of the keys that their providers need: nothing is opened or sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from po_jupyter.errors import InvalidInput, ModelKeyError, Violation
from po_jupyter.llm.audio import FileKind
from po_jupyter.llm.bounds import thinks
from po_jupyter.llm.specs import ALSO_CALLED, Plugin, Spec, spec_of, specs
from po_jupyter.model.pipeline.violations import did_you_mean


def ref_problem(ref: str) -> str | None:
    """The problem of a model ref as such, in one line; None when its provider is known."""
    name, colon, model = ref.partition(":")
    names = sorted(specs())
    if not colon or not model or not name:
        example = f"{name}:NAME" if name in names else "openai:gpt-5-mini"
        return f"{ref!r} is not a model: write provider:model, for example {example}"
    if name not in names:
        other = ALSO_CALLED.get(name.lower())
        hint = f"; did you mean `{other}`?" if other else did_you_mean(name, names)
        return f"no provider is called {name!r}{hint} (known: {', '.join(names)})"
    return None


def parse_ref(ref: str) -> tuple[str, str]:
    """(provider, model) of a ref. Raises InvalidInput when its provider is unknown, with a suggestion for a typo."""
    problem = ref_problem(ref)
    if problem is not None:
        raise InvalidInput(violations=[Violation("llm.model", problem)])
    name, _, model = ref.partition(":")
    return name, model


def missing_key(ref: str, environ: Mapping[str, str] | None = None) -> str | None:
    """The variable that a model needs and `environ` (default: this process's) lacks; None when nothing is missing."""
    spec = spec_of(ref.partition(":")[0])
    environ = os.environ if environ is None else environ
    if spec is None or not spec.key_env or spec.key_optional or spec.key_in(environ) or spec.has_login(environ):
        return None
    return spec.key_env


def runs_code(ref: str) -> bool:
    """True for a model that may run commands where it is used: a run with it needs the scope `code:run`.

    What a plugin's provider does only its package says, which is imported for it; of a broken one it is not known.
    """
    name = ref.partition(":")[0]
    if name not in specs():
        return False
    spec = spec_of(name)
    return spec is None or spec.runs_code


def names_file(ref: str) -> bool:
    """True for a local model that is a file of this machine: naming it shows whether there is such a file."""
    name, _, model = ref.partition(":")
    return name == "local" and (os.sep in model or model.endswith(".gguf"))


def images_problem(ref: str) -> str | None:
    """The reason why a model cannot take images, in one line; None when its provider takes them."""
    name = ref.partition(":")[0]
    spec = specs().get(name)
    if spec is None or spec.images:
        return None
    return f"{name} takes no images, and the model is {ref}"


def files_problem(ref: str, kinds: Iterable[FileKind] = ()) -> str | None:
    """The reason why a model cannot take files of these kinds (of none of them: of any), with what can; None when it
    takes them, or is unknown."""
    taken = kinds_taken(ref)
    if taken is None:
        return None
    missing = [kind for kind in kinds if kind not in taken]
    if not missing and taken:
        return None
    what = " and ".join(_KINDS[kind] for kind in (sorted(set(missing)) or ("pdf", "audio")))
    able = ", ".join(_able(missing[0] if missing else "pdf"))
    return f"{ref} is not known to take {what}; models that do are, for example, {able}"


def kinds_taken(ref: str) -> frozenset[FileKind] | None:
    """The kinds of files that a model takes; None: it is not known."""
    name, _, model = ref.partition(":")
    spec = spec_of(name)  # of a plugin only its package says
    if spec is None:
        return None
    patterns: dict[FileKind, str] = {"pdf": spec.pdf, "audio": spec.audio}
    return frozenset(kind for kind, pattern in patterns.items() if pattern and re.match(pattern, model))


_KINDS: Mapping[FileKind, str] = {"pdf": "PDF files", "audio": "sound"}
_HEARS = ("gemini:gemini-2.5-flash", "mistral:voxtral-small-latest", "openai:gpt-audio")


def _able(kind: FileKind) -> list[str]:
    """Examples of models that take a kind of file."""
    if kind == "audio":
        return list(_HEARS)
    return sorted(s.example for s in specs().values() if s.pdf and s.name != "fake")


def embeddings_problem(ref: str) -> str | None:
    """The reason why a model makes no vectors, in one line; None when it does, or only its package or server knows."""
    name, _, model = ref.partition(":")
    spec = specs().get(name)
    if spec is None or isinstance(spec.factory, Plugin):
        return None
    if spec.embeddings:
        if not spec.embedding_models or re.match(spec.embedding_models, model) or model.startswith("projects/"):
            return None
        return f"{ref} gives answers and makes no vectors; name one that does under the task's `llm`"
    able = ", ".join(sorted(s.name for s in specs().values() if s.embeddings))
    return f"{name} makes no embeddings here, and the model is {ref}; these do: {able}"


def logprobs_problem(ref: str, effort: str | None = None) -> str | None:
    """The reason why a model gives no log probabilities, with what does; None when it does, or is unknown."""
    name, _, model = ref.partition(":")
    spec = spec_of(name)  # of a plugin only its package says
    if spec is None:
        return None
    if not spec.logprobs or not re.match(spec.logprobs, model):
        return f"{ref} gives no log probabilities; models that do are, for example, {', '.join(_SAYS_LOGPROBS)}"
    if name not in _WHILE_THINKING and not spec.free and thinks(ref, effort):
        return f"{ref} gives no log probabilities while it thinks: set `effort: none`, or take another model"
    return None


_SAYS_LOGPROBS = ("openai:gpt-4.1-mini", "vertex:gemini-2.5-flash", "vllm:Qwen/Qwen3-4B")
_WHILE_THINKING = frozenset({"gemini", "vertex", "fireworks"})


def answers_problem(ref: str) -> str | None:
    """The reason why a model gives no answers, in one line; None when it does, as far as its name tells."""
    name, _, model = ref.partition(":")
    spec = specs().get(name)
    if spec is None or not spec.embedding_models or not re.match(spec.embedding_models, model):
        return None
    return f"{ref} makes vectors and gives no answers; name one that does, for example {spec.example}"


def batch_problem(ref: str) -> str | None:
    """The reason why a model cannot be used with `mode: batch`, or None: it can, or its provider is unknown."""
    name = ref.partition(":")[0]
    spec = specs().get(name)
    if spec is None or spec.batch or isinstance(spec.factory, Plugin):
        return None
    able = ", ".join(sorted(s.name for s in specs().values() if s.batch))
    return f"`mode: batch` needs a provider with a batch API ({able}), and {name} has none here"


def provider_key(spec: Spec, environ: Mapping[str, str]) -> str | None:
    """The key of a provider, or None when it needs none.

    Raises ModelKeyError when the key is missing, or cannot be the value of an HTTP header.
    """
    if not spec.key_env:
        return None
    key = spec.key_in(environ)
    if not key and spec.key_optional:
        return None
    if not key:
        raise ModelKeyError(
            f"{spec.name} needs a key: {spec.key_env} is not set where the orchestrator runs",
            hint=f"Store one: po keys set {spec.name}   (or set {spec.key_env} where the orchestrator starts)",
            details={"provider": spec.name, "variable": spec.key_env},
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ModelKeyError(
            f"{spec.key_env} is not a key: it holds spaces, line breaks or other signs that no key has",
            hint=f"Store one: po keys set {spec.name}; {spec.key_env} of the environment wins over it, so unset that.",
            details={"provider": spec.name, "variable": spec.key_env},
        )
    return key
