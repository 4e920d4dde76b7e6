"""Definitions that were read and found good: most runs are of a pipeline that was submitted before, and a check of ten
small tasks costs as much as all else that a submission does."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from threading import Lock

from po_jupyter.engine.prompts.template_samples import sample_of
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.values.chunked_json import is_larger_than
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.examination.operations import Examination, Examine

_KEPT = 256  # pipelines; each takes some tens of kilobytes
_LARGE = (
    64 * 1024
)  # characters of a seed's data, from which on telling that it is alike costs more than the check


class CheckedDefinitions:
    """The pipelines of the last examinations that found nothing wrong. Safe for several threads.

    An examination is answered from here where all that the check looks at is the same: of the seed's data that is
    `sample_of` them. What is wrong is looked at anew each time.
    """

    def __init__(self, most: int = _KEPT) -> None:
        """Nothing is known yet; at most `most` are kept."""
        self._most = most
        self._known: OrderedDict[bytes, Pipeline] = OrderedDict()
        self._lock = Lock()

    def examine(self, examination: Examination, examine: Examine) -> Pipeline | JsonObject:
        """The pipeline of a `parse` or `check`, known or made by `examine`. Raises what that raises."""
        key = _key_of(examination)
        if key is None:
            return examine(examination)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        result = examine(examination)
        if isinstance(result, Pipeline):
            with self._lock:
                self._known[key] = result
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return result


def _key_of(examination: Examination) -> bytes | None:
    """A digest of what the result depends on; None where it would cost too much."""
    data = examination.get("data")
    if is_larger_than(data, _LARGE):
        return None
    text = json.dumps({**examination, "data": None if data is None else sample_of(data)})
    return hashlib.sha256(text.encode()).digest()
