"""One run for each slot, by the clock, whatever comes between. The clock is the test's."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.schedules.due import GRACE, MOST
from po_jupyter.orchestrator.schedules.records import iso
from po_jupyter.orchestrator.schedules.runner import SlotRunner, slot_key
from tests.support.schedules import CODE, OWNER, START, Clockwork


def test_a_slot_that_comes_due_is_a_run_of_the_registered_pipeline(clockwork: Clockwork) -> None:
    clockwork.add()
    assert clockwork.look(minutes=59).runs == []
    report = clockwork.look(minutes=1)
    (run,) = report.runs
    assert run.new is not None
    assert (run.head["pipeline"], run.head["owner"], run.head["name"]) == (
        "greet", OWNER, "greet 2026-03-02T13:00:00Z",
    )  # fmt: skip
    assert clockwork.store.definition(run.head["run"])["seed"]["data"] == {"who": "you"}
    assert report.next_at == START + timedelta(hours=2)
    assert clockwork.outcomes()[-1].get("run") == run.head["run"]
    assert clockwork.look().runs == []


def test_budget_and_model_are_the_runs(clockwork: Clockwork) -> None:
    clockwork.add(budget={"usd": 0.5}, model="fake:other")
    (run,) = clockwork.look(hours=1).runs
    definition = clockwork.store.definition(run.head["run"])
    assert definition["options"]["model"] == "fake:other"
    events = clockwork.store.events(run.head["run"])
    assert events[0]["data"]["budget"] == {"usd": 0.5}


def test_a_slot_has_the_pipeline_as_it_is_registered_then(clockwork: Clockwork) -> None:
    clockwork.add()
    changed = {
        "name": "greet",
        "version": "2.0.0",
        "tasks": [{"name": "say", "prompt": "Bye", "llm": "fake:echo"}],
    }
    clockwork.registry.put(validate_pipeline(changed), OWNER)
    assert clockwork.look(hours=1).runs[0].head["version"] == "2.0.0"


# -- nobody was up -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", [("03-02 17:00", "missed")]),
        ("last", [("03-02 16:00", "missed"), ("03-02 17:00", "run")]),
        ("all", [(f"03-02 {hour}:00", "run") for hour in range(13, 18)]),
    ],
)
def test_what_was_missed_is_made_up_for_as_the_schedule_says(
    clockwork: Clockwork, missed: str, expected: list[tuple[str, str]]
) -> None:
    clockwork.add(missed=missed)
    clockwork.look(hours=5, minutes=30)
    while clockwork.record()["waiting"]:
        clockwork.end_all()
        clockwork.look()
    assert [(slot.replace("T", " "), outcome) for slot, outcome in clockwork.told()] == expected
    clockwork.end_all()
    clockwork.look(minutes=30)
    assert clockwork.told()[-1] == ("03-02T18:00", "run")


def test_all_that_was_missed_is_bounded(clockwork: Clockwork) -> None:
    """Half a year of minutes is a hundred runs, one after the other, and a note."""
    clockwork.add(cron="* * * * *", missed="all")
    clockwork.look(days=180)
    assert clockwork.outcomes()[0]["outcome"] == "missed"
    assert "there were more" in clockwork.outcomes()[0].get("note", "")
    for _ in range(MOST):
        clockwork.end_all()
        clockwork.look()
    assert len(clockwork.runs()) == MOST
    assert clockwork.record()["waiting"] == []
    assert {outcome["outcome"] for outcome in clockwork.outcomes()} == {"run"}


def test_a_slot_that_is_a_little_late_is_no_missed_one(clockwork: Clockwork) -> None:
    clockwork.add(missed="skip")
    clockwork.look(hours=1, seconds=GRACE.total_seconds())
    assert clockwork.told() == [("03-02T13:00", "run")]


# -- clocks ------------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_repeats_no_slot(clockwork: Clockwork) -> None:
    clockwork.add(cron="*/10 * * * *")
    for _ in range(6):
        clockwork.look(minutes=10)
        clockwork.end_all()
    before = len(clockwork.runs())
    clockwork.look(hours=-1)
    for _ in range(6):
        clockwork.look(minutes=10)
    assert len(clockwork.runs()) == before == 6
    clockwork.look(minutes=10)
    assert len(clockwork.runs()) == before + 1


def test_a_laptop_that_slept_for_a_week_starts_one_run(clockwork: Clockwork) -> None:
    clockwork.add(cron="* * * * *")
    assert len(clockwork.look(days=7).runs) == 1
    assert clockwork.outcomes()[0].get("count") == MOST - 1
    assert "there were more" in clockwork.outcomes()[0].get("note", "")


def test_a_wall_time_that_comes_twice_is_one_run(clockwork: Clockwork) -> None:
    """Berlin, 25 October 2026: 02:30 is at 00:30 and at 01:30 UTC."""
    clockwork.now = START.replace(month=10, day=24, hour=23)
    clockwork.add(cron="30 2 * * *", timezone="Europe/Berlin")
    for _ in range(24):
        clockwork.look(minutes=15)
    assert clockwork.told() == [("10-25T00:30", "run")]


def test_a_wall_time_that_does_not_exist_is_one_run(clockwork: Clockwork) -> None:
    """Berlin, 29 March 2026: 02:30 would be; at 01:00 UTC it is 03:00."""
    clockwork.now = START.replace(month=3, day=28, hour=23)
    clockwork.add(cron="30 2 * * *", timezone="Europe/Berlin")
    for _ in range(24):
        clockwork.look(minutes=15)
    assert clockwork.told() == [("03-29T01:00", "run")]


# -- the run before it is still going ----------------------------------------------------------------------


def test_a_slot_is_passed_over_while_the_run_before_goes_on(clockwork: Clockwork) -> None:
    clockwork.add()
    (first,) = clockwork.look(hours=1).runs
    assert clockwork.look(hours=1).runs == []
    assert clockwork.outcomes()[-1]["outcome"] == "overlap"
    assert first.head["run"] in clockwork.outcomes()[-1].get("note", "")
    clockwork.end_all()
    assert len(clockwork.look(hours=1).runs) == 1


def test_one_that_was_missed_is_passed_over_as_well_while_the_run_before_goes_on(clockwork: Clockwork) -> None:
    clockwork.add()
    clockwork.look(hours=1)
    clockwork.look(hours=5, minutes=30)
    assert [outcome for _, outcome in clockwork.told()] == ["run", "missed", "overlap"]
    assert clockwork.record()["waiting"] == []


def test_a_slot_can_wait_for_the_run_before_it(clockwork: Clockwork) -> None:
    clockwork.add(overlap="queue", missed="skip")
    (first,) = clockwork.look(hours=1).runs
    report = clockwork.look(hours=1)
    assert (report.runs, report.former) == ([], first.head["run"])
    clockwork.look(minutes=30)  # late by now, but it was due in time
    clockwork.end_all()
    (second,) = clockwork.look().runs
    assert second.head["name"] == "greet 2026-03-02T14:00:00Z"
    assert clockwork.record()["waiting"] == []


def test_what_waits_is_bounded(clockwork: Clockwork) -> None:
    clockwork.add(cron="* * * * *", overlap="queue")
    for _ in range(MOST + 50):
        clockwork.look(minutes=1)
    assert len(clockwork.record()["waiting"]) == MOST
    assert len(clockwork.runs()) == 1


def test_a_run_that_was_deleted_is_not_waited_for(clockwork: Clockwork) -> None:
    clockwork.add()
    (first,) = clockwork.look(hours=1).runs
    clockwork.end_all()
    clockwork.store.delete_run(first.head["run"])
    assert len(clockwork.look(hours=1).runs) == 1


# -- refusals ----------------------------------------------------------------------------------------------


def test_a_run_that_is_refused_is_told_and_not_tried_again(clockwork: Clockwork) -> None:
    """An invalid seed and a missing key: the outcome of their slots, and the next slot is tried."""
    clockwork.add(pipeline="rows", seed={"files": "missing.csv"})
    clockwork.add(id="s2", model="openai:gpt-5-mini")
    clockwork.look(hours=1)
    clockwork.look("local/s2")
    assert clockwork.outcomes()[-1]["outcome"] == "refused"
    assert "there is no file" in clockwork.outcomes()[-1].get("note", "")
    assert "OPENAI_API_KEY" in clockwork.outcomes("local/s2")[-1].get("note", "")
    assert clockwork.look().runs == clockwork.look("local/s2").runs == []
    (clockwork.project / "missing.csv").write_text("text\na\n")
    assert len(clockwork.look(hours=1).runs) == 1
    assert [o["outcome"] for o in clockwork.outcomes()] == ["refused", "run"]


def test_code_needs_the_right_to_run_it_at_each_slot(clockwork: Clockwork) -> None:
    """Somebody with more rights registers code under the name: the schedule of who has fewer does not run it."""
    clockwork.add(rights={"code_allowed": False, "token": None, "expires_at": None})
    assert len(clockwork.look(hours=1).runs) == 1
    clockwork.end_all()
    clockwork.registry.put(validate_pipeline({**CODE, "name": "greet"}), OWNER)
    report = clockwork.look(hours=1)
    assert report.runs == []
    assert report.paused is not None
    assert "runs no code" in report.paused
    record = clockwork.record()
    assert record["paused"] is not None
    assert record["paused"]["by"] == "schedule"
    assert clockwork.look(hours=5).next_at is None
    assert len(clockwork.runs()) == 1


def test_a_schedule_whose_pipeline_is_gone_is_paused(clockwork: Clockwork) -> None:
    clockwork.add()
    clockwork.registry.delete("greet", OWNER)
    assert "there is no pipeline 'greet'" in (clockwork.look(hours=1).paused or "")


def test_a_schedule_ends_with_the_token_that_added_it(clockwork: Clockwork) -> None:
    expires_at = (START + timedelta(minutes=90)).timestamp()
    clockwork.add(rights={"code_allowed": True, "token": "t1", "expires_at": expires_at})
    assert len(clockwork.look(hours=1).runs) == 1
    assert "the token t1" in (clockwork.look(hours=1).paused or "")


def test_a_store_that_fails_has_the_slot_wait(clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    clockwork.add()
    create = clockwork.store.create_run

    def failing(new: Any) -> Any:
        raise StoreUnusable("the disk is full")

    monkeypatch.setattr(clockwork.store, "create_run", failing)
    with pytest.raises(StoreUnusable):
        clockwork.look(hours=1)
    monkeypatch.setattr(clockwork.store, "create_run", create)
    assert len(clockwork.look(minutes=1).runs) == 1


def test_a_fault_of_ours_is_the_outcome_of_one_slot(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    clockwork.add()
    with monkeypatch.context() as patch:
        patch.setattr(clockwork.planner, "plan", lambda *_, **__: 1 // 0)
        clockwork.look(hours=1)
    assert "ZeroDivisionError" in clockwork.outcomes()[-1].get("note", "")
    assert len(clockwork.look(hours=1).runs) == 1


def test_a_record_that_makes_no_sense_pauses_itself(clockwork: Clockwork) -> None:
    clockwork.add(timezone="Atlantis/Capital")
    assert "Atlantis" in (clockwork.look(hours=1).paused or "")
    assert clockwork.look(hours=1).paused is None


def test_a_schedule_that_was_removed_does_nothing(clockwork: Clockwork) -> None:
    key = clockwork.add()
    clockwork.schedules.remove("s1", OWNER)
    assert clockwork.runner.advance(key, START + timedelta(hours=9)) is None


# -- two processes -----------------------------------------------------------------------------------------


def test_two_that_think_they_hold_the_store_make_one_run(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one settles the slot between our look at it and our run."""
    key = clockwork.add()
    other = clockwork.another_runner()
    now = START + timedelta(hours=1)
    create = SlotRunner.create

    def slow(runner: SlotRunner, *arguments: Any) -> Any:
        monkeypatch.setattr(SlotRunner, "create", create)
        other.advance(key, now)
        return create(runner, *arguments)

    monkeypatch.setattr(SlotRunner, "create", slow)
    clockwork.look(hours=1)
    assert len(clockwork.runs()) == 1
    assert clockwork.told() == [("03-02T13:00", "run")]


def test_files_that_came_between_two_that_hold_the_store_stay_new(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is the other's, with the files that it saw; what we saw besides is for the next slot."""
    write(clockwork.project / "day", a="one")
    key = clockwork.add(pipeline="rows", seed={"files": "day/*.csv", "only_new": True})
    other, now = clockwork.another_runner(), START + timedelta(hours=1)
    plan = clockwork.planner.plan

    def slow(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(clockwork.planner, "plan", plan)
        (clockwork.project / "day" / "b.csv").unlink()
        other.advance(key, now)
        return plan(*arguments, **options)

    monkeypatch.setattr(clockwork.planner, "plan", slow)
    write(clockwork.project / "day", b="two")
    clockwork.look(hours=1)
    write(clockwork.project / "day", b="two")
    clockwork.end_all()
    clockwork.look(hours=1)
    assert seeds(clockwork) == [["two"], ["one"]]


def test_a_slot_whose_run_is_there_gets_no_second_one(clockwork: Clockwork) -> None:
    """Whatever the seed's file says by then: the key is of the slot."""
    file = clockwork.project / "rows.csv"
    file.write_text("text\na\n")
    clockwork.add(pipeline="rows", seed={"files": "rows.csv"})
    before = clockwork.record()
    (run,) = clockwork.look(hours=1).runs
    clockwork.schedules.add(before)  # as before a crash
    file.write_text("text\nb\n")
    (again,) = clockwork.look().runs
    assert (again.head["run"], again.new) == (run.head["run"], None)
    assert len(clockwork.runs()) == 1
    assert slot_key(before, iso(clockwork.now)) == "schedule:s1:2026-03-02T13:00:00Z"


# -- files -------------------------------------------------------------------------------------------------


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(f"text\n{text}\n")


def seeds(clockwork: Clockwork) -> list[list[str]]:
    """The texts of the rows of each run, the newest first."""
    definitions = [clockwork.store.definition(head["run"]) for head in clockwork.runs()]
    return [[row["text"] for row in definition["seed"]["data"]["rows"]] for definition in definitions]


def test_a_file_is_read_at_each_slot(clockwork: Clockwork) -> None:
    clockwork.add(pipeline="rows", seed={"files": "day/a.csv"})
    for text in ("one", "two"):
        write(clockwork.project / "day", a=text)
        clockwork.look(hours=1)
        clockwork.end_all()
    assert seeds(clockwork) == [["two"], ["one"]]


def test_only_files_that_no_slot_had_are_a_seed(clockwork: Clockwork) -> None:
    folder = clockwork.project / "day"
    clockwork.add(pipeline="rows", seed={"files": "day/*.csv", "only_new": True})
    write(folder, a="one", b="two")
    clockwork.look(hours=1)
    clockwork.end_all()
    clockwork.look(hours=1)
    assert clockwork.outcomes()[-1]["outcome"] == "nothing"
    write(folder, b="two again", c="three")
    clockwork.look(hours=1)
    assert seeds(clockwork) == [["two again", "three"], ["one", "two"]]
    listed = clockwork.store.definition(clockwork.runs()[0]["run"])["seed"]["data"]["files"]
    assert [Path(file["name"]).name for file in listed] == ["b.csv", "c.csv"]


@pytest.mark.parametrize("is_created", [False, True])
def test_a_kill_in_a_run_that_was_asked_for_pays_its_files_neither_twice_nor_never(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch, is_created: bool
) -> None:
    """Nobody comes to such a slot again to write down which files it had."""
    write(clockwork.project / "day", a="one")
    clockwork.add(pipeline="rows", seed={"files": "day/*.csv", "only_new": True})
    create = clockwork.store.create_run

    def killed(new: Any) -> Any:
        if is_created:
            create(new)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(clockwork.store, "create_run", killed)
        with pytest.raises(KeyboardInterrupt):
            clockwork.runner.create(clockwork.record(), "2026-03-02T12:30:00Z+0a0b", by_hand=True)
    for _ in range(2):
        clockwork.end_all()
        clockwork.look(hours=1)
    assert seeds(clockwork) == [["one"]]
    assert [outcome for _, outcome in clockwork.told()][-1] == "nothing"
    (file,) = clockwork.store.names("schedule-file")
    assert "pending" not in clockwork.store.get("schedule-file", file), "the run may be deleted now"


def test_two_that_ask_at_once_do_not_have_the_same_file(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(clockwork.project / "day", a="one")
    clockwork.add(pipeline="rows", seed={"files": "day/*.csv", "only_new": True})
    plan, record, second = clockwork.planner.plan, clockwork.record(), ThreadPoolExecutor(1)
    asked: list[Future[Any]] = []

    def slow(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(clockwork.planner, "plan", plan)
        asked.append(second.submit(clockwork.runner.create, record, "2026-03-02T12:30:00Z+0c0d", by_hand=True))
        wait(asked, timeout=0.2)  # until it waits as well, or has the file
        return plan(*arguments, **options)

    monkeypatch.setattr(clockwork.planner, "plan", slow)
    assert clockwork.runner.create(record, "2026-03-02T12:30:00Z+0a0b", by_hand=True) is not None
    assert asked[0].result(10) is None and seeds(clockwork) == [["one"]]
    second.shutdown()


def test_files_of_a_run_whose_slot_was_not_written_down_are_not_had_again(clockwork: Clockwork) -> None:
    """Between the run and the marks everything may die: the run says which files it had."""
    folder = clockwork.project / "day"
    write(folder, a="one")
    clockwork.add(pipeline="rows", seed={"files": "day/*.csv", "only_new": True})
    before = clockwork.record()
    clockwork.look(hours=1)
    for name in clockwork.store.names("schedule-file"):
        clockwork.store.drop("schedule-file", name)
    clockwork.schedules.add(before)
    write(folder, b="two")
    clockwork.look()
    clockwork.end_all()
    clockwork.look(hours=1)
    assert seeds(clockwork) == [["two"], ["one"]]
    assert len(clockwork.store.names("schedule-file")) == 2
    clockwork.schedules.remove("s1", OWNER)
    assert clockwork.store.names("schedule-file") == []


def test_a_refused_run_leaves_its_files_new(clockwork: Clockwork) -> None:
    write(clockwork.project / "day", a="one")
    clockwork.add(
        pipeline="rows", seed={"files": "day/*.csv", "only_new": True}, model="openai:gpt-5-mini", id="s1"
    )
    clockwork.look(hours=1)
    assert clockwork.outcomes()[-1]["outcome"] == "refused"
    assert clockwork.store.names("schedule-file") == []
