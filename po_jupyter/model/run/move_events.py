"""The data of the events of a run that is handed over to the service of shared runs; see `events`."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class RunMovedData(TypedDict):
    """The run is worked off elsewhere from here on: `to` says where ("shared"), `group` for which group there. `sha256`
    is of the file that it went in, `by` who moved it, `from_state` the state that it was in."""

    to: str
    group: str
    sha256: str
    by: str
    from_state: str


class RunMoveEndedData(TypedDict):
    """`run.move_accepted`: the new place has it. `run.move_refused`: that one refused it, for good, and the run is here
    as before, in `state`; `error` says why."""

    state: NotRequired[str]
    error: NotRequired[str]


class RunReceivedData(TypedDict):
    """The run came from another place and is worked off here: its new owner, whose it was, who moved it, and the file
    that it came in."""

    owner: str
    from_owner: str
    by: str
    sha256: str
