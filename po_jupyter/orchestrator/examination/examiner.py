"""The examiner: has examinations done by a child process, and gives up on those that take too much."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import structlog

from po_jupyter.config import SECRETS, Settings
from po_jupyter.engine.prompts.template_samples import sample_of
from po_jupyter.errors import InvalidInput, PoError, Unavailable, from_json
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.values.chunked_json import is_larger_than, json_chunks
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.variables import worker_environment
from po_jupyter.orchestrator.examination.checked import CheckedDefinitions
from po_jupyter.orchestrator.examination.child import TOO_MUCH, WALL_SECONDS
from po_jupyter.orchestrator.examination.operations import Examination, examine_here
from po_jupyter.orchestrator.examination.watched import WatchedExaminations, request_of
from po_jupyter.platform import forking, private_file, sockets
from po_jupyter.platform.processes import ROOT
from po_jupyter.platform.source_root import SOURCE_ROOT

log = structlog.get_logger(__name__)

MODULE = "po_jupyter.orchestrator.examination.child"
_PATIENCE = WALL_SECONDS + 15.0  # s; the child may have to be started before
SMALL = 8_000  # bytes of a definition
REST = 60.0  # s without an examination, after which the child ends: it holds 37 MB, and starts in half a second
_MOST_KEYS = 1000  # of a seed
_PIECE = 1 << 16  # bytes
_FEW_BRACKETS = 300  # brackets and commas of YAML, for which its parser takes quadratic time


class Examiner:
    """The examinations of one orchestrator. They block: call them in threads, several at once."""

    def __init__(self, settings: Settings, small: int = SMALL, rest: float = REST) -> None:
        """Starts the child when it is needed, and ends it `rest` seconds after the last examination. Definitions of at
        most `small` bytes are checked here."""
        self._settings = settings
        self._small = small
        self._rest = rest
        self._resting: threading.Timer | None = None
        self._at_work = 0  # examinations that wait for their answer
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._closed = False
        self._checked = CheckedDefinitions()
        self._watched: WatchedExaminations | None = None
        if not forking.IS_FORK_SAFE:
            self._watched = WatchedExaminations(
                sys.executable, self._settings_json(), settings.data_dir / "logs"
            )

    def _settings_json(self) -> str:
        return json.dumps(self._settings.model_dump(mode="json", exclude=set(SECRETS)))

    def examine(self, examination: Examination) -> Pipeline | JsonObject:
        """Do one, see `operations.examine_here`.

        Raises InvalidInput, also for what takes too long or too much memory; Unavailable when no process starts.
        """
        if self._is_quick(examination):
            return self._checked.examine(examination, self._examine_here)
        if self._watched is None:
            answer = self._ask(examination)
        else:
            answer = self._watched.ask(request_of(_sampled(examination)))
        if not answer:
            if self._closed:
                raise Unavailable("the orchestrator is stopping")
            raise InvalidInput(f"this cannot be read: {TOO_MUCH}")
        decoded = json.loads(answer.decode("utf-8", "surrogatepass"))
        if "error" in decoded:
            raise from_json(decoded["error"])
        return cast(JsonObject, decoded["value"])

    def _examine_here(self, examination: Examination) -> Pipeline | JsonObject:
        return examine_here(examination, self._settings)

    def _is_quick(self, examination: Examination) -> bool:
        """Whether nothing is rendered, and there is so little to read that it takes milliseconds whatever it is."""
        if (
            examination["what"] in ("analyse", "estimate", "render", "score")
            or len(examination.get("data") or ()) > _MOST_KEYS
        ):
            return False
        if isinstance(examination["definition"], str):
            return _is_quick_text(examination["definition"], self._small // 2)
        texts = [examination["definition"], examination.get("budget")]
        # Its names, which the first does not count, are counted by the second.
        return not is_larger_than(texts, self._small) and len(json.dumps(texts)) <= 2 * self._small

    def warm_up(self) -> None:
        """Have a process ready where each examination takes one of its own, and nobody wants to wait for that."""
        if self._watched is not None:
            with suppress(PoError):
                self._watched.warm_up()

    def close(self) -> None:
        """End the child, and with it whatever is being examined."""
        with self._lock:
            self._closed = True
            child, control = self._child, self._control
            self._child = self._control = None
            if self._resting is not None:
                self._resting.cancel()
        if self._watched is not None:
            self._watched.close()
        if control is not None:
            control.close()
        if child is not None:
            child.kill()
            child.wait()

    def _ask(self, examination: Examination) -> bytes:
        """The answer of a fork; empty when it was killed."""
        ours, theirs = socket.socketpair()
        deadline = time.monotonic() + _PATIENCE
        with ours, self._awake():
            try:
                self._hand_over(theirs)
            finally:
                theirs.close()
            ours.settimeout(_PATIENCE)
            try:
                _send(ours, examination)
                answer = bytearray()
                while part := ours.recv(_PIECE):
                    answer += part
                    ours.settimeout(max(0.1, deadline - time.monotonic()))
            except OSError:  # it is gone before it has read everything, or does not answer in time
                return b""
            return bytes(answer)

    def _hand_over(self, connection: socket.socket) -> None:
        with self._lock:
            for attempt in (1, 2):
                control = self._started()
                try:
                    sockets.send_descriptor(control, connection.fileno())
                    return
                except OSError as error:
                    log.warning("the process that examines is gone", attempt=attempt, error=str(error))
                    self._forget()
        raise Unavailable("no process could be started that reads this", hint="Try again in a moment.")

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """Keep the child meanwhile, and a while longer: its forks end with it."""
        with self._lock:
            self._at_work += 1
            if self._resting is not None:
                self._resting.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
                if not self._at_work and not self._closed:
                    self._resting = threading.Timer(self._rest, self._end_idle)
                    self._resting.daemon = True
                    self._resting.start()

    def _end_idle(self) -> None:
        with self._lock:
            # Else it was needed meanwhile.
            if not self._at_work and self._resting is threading.current_thread():
                self._forget()

    def _forget(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._child = self._control = None

    def _started(self) -> socket.socket:
        if self._closed:
            raise Unavailable("the orchestrator is stopping")
        if self._control is not None and self._child is not None and self._child.poll() is None:
            return self._control
        self._forget()
        ours, theirs = socket.socketpair()
        environment = worker_environment()
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE_ROOT, environment.get("PYTHONPATH")]))
        try:
            errors = _open_log(self._settings.data_dir / "logs")
            try:
                self._child = subprocess.Popen(
                    [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                    env=environment, cwd=ROOT, start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(errors)
            text = self._settings_json().encode()
            ours.sendall(len(text).to_bytes(4, "big") + text)
        except OSError as error:
            ours.close()
            raise Unavailable(f"no process can be started: {error.strerror}") from None
        finally:
            theirs.close()
        self._control = ours
        return ours


def _sampled(examination: Examination) -> JsonObject:
    data = examination.get("data")
    return {**examination, "data": None if data is None else sample_of(data)}


def _send(connection: socket.socket, examination: Examination) -> None:
    """The request, in pieces, so that other threads have their turn while a large one is written (P9)."""
    waiting = bytearray()
    for piece in json_chunks(_sampled(examination)):
        waiting += piece.encode("utf-8", "surrogatepass")
        if len(waiting) > _PIECE:
            connection.sendall(waiting)
            waiting.clear()
    connection.sendall(waiting)
    connection.shutdown(socket.SHUT_WR)


def _open_log(folder: Path) -> int:
    folder.mkdir(mode=private_file.PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    return private_file.open_log(folder / "examiner.log")


def _is_quick_text(text: str, small: int) -> bool:
    """Whether YAML of at most `small` characters is read in milliseconds, whatever stands in it."""
    return len(text) <= small and sum(map(text.count, "[{,")) <= _FEW_BRACKETS
