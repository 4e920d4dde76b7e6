"""R2.3: what an earlier version left behind is read as it was written, and every run of it can be gone on with.

Each `NAME.tar.gz` beside this file is a data directory as a version left it, killed in the middle of its work:

    data/                  the directory, with SQLite's write-ahead logs as the killed processes left them
    expected/LABEL.json    what that version said of a run: view, folded state, events, calls, answers, rows, artifacts

`manifest.json` says what is in each of them and what comes of each run when it is gone on with. `record.py` makes both.
A field that a later version adds is no difference; one that is gone, or says something else, is.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import going_on, opening

HERE = Path(__file__).parent
MANIFEST: dict[str, Any] = json.loads((HERE / "manifest.json").read_text())
NAMES = sorted(MANIFEST)
RUNS = [(name, label) for name in NAMES for label in MANIFEST[name]["runs"]]
RESUMED = [(name, label) for name, label in RUNS if MANIFEST[name]["runs"][label]["goes_on"]]

recordings = pytest.mark.parametrize("name", NAMES)
each_run = pytest.mark.parametrize(("name", "label"), RUNS, ids=lambda part: part)
each_resumed = pytest.mark.parametrize(("name", "label"), RESUMED, ids=lambda part: part)


def unpack(name: str, to: Path) -> Path:
    """A fresh copy of a recording."""
    with tarfile.open(HERE / f"{name}.tar.gz") as packed:
        packed.extractall(to, filter="tar")  # keeps the modes of directories, which are private
    return to


class Recording:
    """A recording that is only read: as it is now, and as it was."""

    def __init__(self, name: str, folder: Path) -> None:
        unpack(name, folder)
        self.now = opening.Opened(folder / "data")
        self.was = {path.stem: json.loads(path.read_text()) for path in (folder / "expected").iterdir()}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Recording]]:
    found = {name: Recording(name, tmp_path_factory.mktemp("history")) for name in NAMES}
    yield found
    for recording in found.values():
        recording.now.close()


@pytest.fixture(scope="module")
def gone_on(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All runs of a recording are gone on with at once, by one orchestrator with real workers."""
    found = {}
    for name in NAMES:
        data = unpack(name, tmp_path_factory.mktemp("gone-on")) / "data"
        found[name] = going_on.go_on(data, MANIFEST[name])
    return found


def differences(was: Any, now: Any, where: str = "") -> list[str]:
    """What `now` does not say as `was` did; keys that `was` does not have are none."""
    if isinstance(was, dict) and isinstance(now, dict):
        found = [f"{where}.{key} is gone" for key in was.keys() - now.keys()]
        return found + [
            line for key in was if key in now for line in differences(was[key], now[key], f"{where}.{key}")
        ]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return [
            line
            for i, (one, other) in enumerate(zip(was, now, strict=True))
            for line in differences(one, other, f"{where}[{i}]")
        ]
    return [] if was == now else [f"{where} was {was!r:.300}, is {now!r:.300}"]


def test_every_recording_is_in_the_manifest() -> None:
    assert [path.name.removesuffix(".tar.gz") for path in sorted(HERE.glob("*.tar.gz"))] == NAMES


# -- reading -----------------------------------------------------------------------------------------------
@recordings
def test_a_store_of_an_earlier_version_opens_and_every_row_is_readable(
    opened: dict[str, Recording], name: str
) -> None:
    assert opened[name].now.damage() == []


@recordings
def test_the_list_of_runs_is_what_it_was(opened: dict[str, Recording], name: str) -> None:
    wanted = MANIFEST[name]
    assert opened[name].now.runs() == [wanted["runs"][label]["id"] for label in wanted["order"]]


@recordings
def test_an_idempotency_key_still_means_its_run(opened: dict[str, Recording], name: str) -> None:
    found = opened[name].now.key_redeemed(going_on.OWNER, "history")
    assert found == MANIFEST[name]["runs"]["done"]["id"]


@recordings
def test_the_answers_of_the_cache_are_still_there(opened: dict[str, Recording], name: str) -> None:
    assert opened[name].now.cached_answers() == MANIFEST[name]["cached_answers"]


@each_run
def test_a_run_is_seen_as_it_was(opened: dict[str, Recording], name: str, label: str) -> None:
    run = MANIFEST[name]["runs"][label]
    view = opened[name].now.view(run["id"])
    assert differences(opened[name].was[label]["view"], view) == []
    assert (view["state"], view["last_event"]) == (run["state"], run["last_event"])
    assert (view["error"] or {}).get("code") == run["code"]
    assert {t["name"]: [t["items"]["done"], t["items"]["failed"]] for t in view["tasks"] if t["items"]} == run[
        "items"
    ]


@each_run
def test_the_events_of_a_run_fold_to_the_state_that_they_were_written_for(
    opened: dict[str, Recording], name: str, label: str
) -> None:
    folded = opened[name].now.folded(MANIFEST[name]["runs"][label]["id"])
    assert differences(opened[name].was[label]["folded"], folded) == []


@each_run
def test_the_history_of_a_run_reads_as_it_was_written(
    opened: dict[str, Recording], name: str, label: str
) -> None:
    events = opened[name].now.events(MANIFEST[name]["runs"][label]["id"])
    assert [event["offset"] for event in events] == [*range(1, MANIFEST[name]["runs"][label]["last_event"] + 1)]
    assert differences(opened[name].was[label]["events"], events) == []


@each_run
def test_the_calls_of_a_run_and_their_answers_are_readable(
    opened: dict[str, Recording], name: str, label: str
) -> None:
    run, was = MANIFEST[name]["runs"][label]["id"], opened[name].was[label]
    assert differences(was["calls"], opened[name].now.calls(run)) == []
    assert differences(was["answers"], opened[name].now.answers(run)) == []


@each_run
def test_outputs_rows_and_artifacts_of_a_run_are_what_was_paid_for(
    opened: dict[str, Recording], name: str, label: str
) -> None:
    run, now, was = MANIFEST[name]["runs"][label], opened[name].now, opened[name].was[label]
    outputs = {task: going_on.small(value) for task, value in now.outputs(run["id"]).items()}
    assert differences(run["outputs"], outputs) == []
    assert differences(was["rows"], now.items(run["id"])) == []
    assert differences(was["artifacts"], now.artifacts(run["id"])) == []


# -- going on ----------------------------------------------------------------------------------------------
@each_resumed
def test_a_run_of_an_earlier_version_is_gone_on_with_to_its_end(
    gone_on: dict[str, dict[str, Any]], name: str, label: str
) -> None:
    """Resumed, approved, requeued, forked, restarted, collected or recovered, as the manifest's `goes_on` says."""
    assert differences(MANIFEST[name]["gone_on"]["ends"][label], gone_on[name]["ends"][label]) == []


@each_run
def test_no_answer_that_was_recorded_is_asked_for_again(
    gone_on: dict[str, dict[str, Any]], name: str, label: str
) -> None:
    """P3, across versions; and what was not answered is asked for once."""
    asked = gone_on[name]["asked"].get(label, [])
    assert not set(asked) & set(MANIFEST[name]["runs"][label]["answered"])
    assert asked == MANIFEST[name]["gone_on"]["asked"].get(label, [])


@recordings
def test_a_batch_that_was_open_is_collected_and_not_made_again(
    gone_on: dict[str, dict[str, Any]], name: str
) -> None:
    assert gone_on[name]["batches"] == len(MANIFEST[name]["batches"])


@recordings
def test_a_dead_letter_is_still_in_the_list(gone_on: dict[str, dict[str, Any]], name: str) -> None:
    assert gone_on[name]["dead_letters"] == [MANIFEST[name]["runs"]["dead"]["id"]]


@recordings
def test_asking_for_the_same_again_costs_nothing(gone_on: dict[str, dict[str, Any]], name: str) -> None:
    """The key answers with the run that it made. Without the key, rows are taken over and calls hit the cache, from a
    pipeline that was registered then; nobody listens at the provider's address."""
    again = gone_on[name]["again"]
    assert again["same_run"] == MANIFEST[name]["runs"]["done"]["id"] and again["created"] is False
    assert again["again"]["state"] == "done" and again["again"]["usage"]["calls"] == 0
    assert differences(MANIFEST[name]["gone_on"]["again"], again) == []
