"""A look-up never keeps anybody waiting."""

from __future__ import annotations

import threading
import time

from po_jupyter.kernel.lookup import PATIENCE, Lookup


def test_the_answer_is_kept_for_a_while() -> None:
    asked = []

    def ask() -> list[str]:
        asked.append(1)
        return ["a", "b"]

    lookup = Lookup(ask)
    assert asked == []
    assert lookup.names() == lookup.names() == ("a", "b")
    assert asked == [1]


def test_one_that_takes_long_is_not_waited_for_and_not_asked_twice() -> None:
    release = threading.Event()
    asked = []

    def ask() -> list[str]:
        asked.append(1)
        release.wait(10)
        return ["late"]

    lookup = Lookup(ask)
    started = time.monotonic()
    assert lookup.names() == ()
    assert lookup.names() == ()
    assert time.monotonic() - started < 2 * PATIENCE + 1
    assert asked == [1]
    release.set()
    while lookup.names() != ("late",):
        pass
    assert asked == [1]


def test_a_failure_is_no_names() -> None:
    def ask() -> list[str]:
        raise OSError("no route")

    assert Lookup(ask).names() == ()
