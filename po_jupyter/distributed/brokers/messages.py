"""Run messages as JSON: what may be in one, and reading what somebody else may have written."""

from __future__ import annotations

import re
from typing import TypedDict

from po_jupyter.distributed.brokers.protocol import PRIORITIES, RunMessage
from po_jupyter.model.run.definition import MAX_LABELS

RUN = re.compile(r"[A-Za-z0-9_-]{1,100}")
LABEL = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class MessageJson(TypedDict):
    """A RunMessage on the wire. A reader passes over what it does not know: a newer node may have written it."""

    run: str
    priority: int
    labels: list[str]


def to_json(message: RunMessage) -> MessageJson:
    """The message for the wire. Raises ValueError for one that cannot be one."""
    read = from_json({"run": message.run, "priority": message.priority, "labels": list(message.labels)})
    return {"run": read.run, "priority": read.priority, "labels": list(read.labels)}


def from_json(value: object) -> RunMessage:
    """The message of the wire. Raises ValueError for anything else."""
    if not isinstance(value, dict):
        raise ValueError("a run message is a mapping")
    run, priority, labels = value.get("run"), value.get("priority", 0), value.get("labels", [])
    if not isinstance(run, str) or not RUN.fullmatch(run):
        raise ValueError("`run` is the id of a run")
    if type(priority) is not int or priority not in PRIORITIES:
        raise ValueError("`priority` is a number from 0 to 9")
    if not isinstance(labels, list) or len(labels) > MAX_LABELS:
        raise ValueError(f"`labels` is a list of at most {MAX_LABELS}")
    if not all(isinstance(label, str) and LABEL.fullmatch(label) for label in labels):
        raise ValueError("a label is 1 to 100 letters, digits and `_.:-`")
    return RunMessage(run, priority, tuple(sorted(set(labels))))
