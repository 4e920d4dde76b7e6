"""A6, P2: the database of a run is that of the last durable point: before or after an attempt, never between."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.files.run_database import open_database, settle, take_back
from tests.support.engine import Bench

WRITES = [
    "insert into t (n, x) values (3, 'three'), (4, null)",
    "insert into t default values",
    "insert or replace into t (n, x) values (1, 'other')",
    "insert into t (n, x) values (1, 'twice') on conflict (n) do update set x = excluded.x",
    "update t set x = 'changed'",
    "update t set n = n + 10",
    "update t set x = x'00ff', y = 1.1",
    "delete from t",
    "delete from t where n = 2",
    "insert into w values ('a', 'b', 5), ('c', 'd', 6)",
    "update w set v = v + 1",
    "delete from w",
    "create table new (a); insert into new values (1), ('it''s; fine')",
    "create table copy as select * from t",
    "drop table t; drop table if exists w; drop table if exists missing",
    'drop table T; create table t (other); insert into t values (5); drop table "odd ""name"',
    "create table if not exists t (n); insert into t (n) values (9)",
    "alter table t rename to u; insert into u (n) values (7)",
    'insert into t (n) values (7); alter table t rename column x to "a name"; update t set "a name" = \'y\'',
    "alter table t add column more text default 'm'; insert into t (n, more) values (8, 'z'); update t set more = 'q'",
    'ALTER TABLE "odd ""name" RENAME "a b" TO c; -- done\ninsert into "odd ""name" values (1, 2);',
    "/* a view */ create view v as select * from t; -- one\n create unique index i on t (y); drop index by_x",
    "create trigger tr after delete on t begin select 1; end; delete from t; drop trigger tr",
    "-- first\n drop table w",
    "with more as (select 7 as n) insert into t (n) select n from more",
    'insert into "odd ""name" ("a b", "select") values (1, 2)',
    "update odd set v = null",
    "delete from odd",
    "drop table odd",
    "delete from odd_keys",
    "update odd_keys set v = 2",
    "insert into odd_keys values (-9e999, 'z' || char(0) || 'z', 1), (1, 'z' || char(0) || 'y', 1)",
]
SETUP = """
create table t (n integer primary key, x, y real default 0.1, z generated always as (n * 2));
create table w (a text, b text, v, primary key (a, b)) without rowid;
create table "odd ""name" ("a b", "select");
insert into t (n, x, y) values (1, 'one', 0.30000000000000004), (2, 'two ''quoted''', -1e300);
insert into w values ('a', 'a', 1);
create index by_x on t (x);
create table odd (v);
insert into odd values (9e999), (-9e999), ('a' || char(0) || 'b'), (char(0)), (''), (x''), (x'00'), ('1' || char(0));
insert into odd values ('\N{SNOWMAN} \N{GRINNING FACE}'), (-9223372036854775808), (1e308), (5e-324);
create table odd_keys (a real, b text, v, primary key (a, b)) without rowid;
insert into odd_keys values (9e999, 'a' || char(0) || 'b', 1), (-9e999, 'a' || char(0) || 'c', 1);
"""


def content(run_dir: Path) -> dict[str, Any]:
    """Every table of the user's with its rows, columns and what belongs to it."""
    with closing(sqlite3.connect(run_dir / "run.db")) as db:
        made = db.execute("select name from sqlite_master where type = 'table' and name not like 'po_%'")
        quoted = {name: '"' + name.replace('"', '""') + '"' for (name,) in made.fetchall()}
        rows = {n: sorted(db.execute(f"select * from {q}").fetchall(), key=repr) for n, q in quoted.items()}
        columns = {
            f"columns of {n}": db.execute(f"pragma table_xinfo({q})").fetchall() for n, q in quoted.items()
        }
        parts = db.execute(
            "select type, name, lower(tbl_name) from sqlite_master where type <> 'table'"
        ).fetchall()
        return {**rows, **columns, "parts": sorted(parts)}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    with closing(open_database(tmp_path, "setup/1-1")) as db:
        db.executescript(SETUP)
        db.commit()
    settle(tmp_path, lambda attempt: True)
    return tmp_path


@pytest.mark.parametrize("sql", WRITES)
def test_what_an_attempt_wrote_is_taken_back_whatever_it_was(run_dir: Path, sql: str) -> None:
    before = content(run_dir)
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.executescript(sql)
        db.commit()
    assert content(run_dir) != before
    take_back(run_dir, "a/1-1", alone=True)
    assert content(run_dir) == before


@pytest.mark.parametrize("sql", WRITES)
def test_of_an_attempt_that_succeeded_everything_stays(run_dir: Path, sql: str) -> None:
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.executescript(sql)
        db.commit()
    after = content(run_dir)
    settle(run_dir, lambda attempt: attempt == "a/1-1")
    take_back(run_dir, "a/1-1", alone=True)
    assert content(run_dir) == after


@pytest.mark.parametrize(
    "sql",
    [
        "drop table t -- old",
        "drop table t /* x */",
        "drop table 't'",
        "drop /* x */ table t",
        'drop table "main".t',
        "drop table [main].[t]",
        'drop table "main"."t"',
        "drop table if exists main . `T` ; -- both",
        ";drop table t",
        "\ufeffdrop table t",
    ],
)
def test_a_dropped_table_comes_back_however_its_drop_is_written(run_dir: Path, sql: str) -> None:
    before = content(run_dir)
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.execute(sql)
        db.commit()
    assert "t" not in content(run_dir)
    settle(run_dir, lambda attempt: False)
    assert content(run_dir) == before


@pytest.mark.parametrize("sql", ["drop table t", "drop table temp.t"])
def test_dropping_a_temporary_table_leaves_the_table_of_that_name(run_dir: Path, sql: str) -> None:
    before = content(run_dir)
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.execute("create temp table t (n)")
        db.execute(sql)
        db.commit()
    assert content(run_dir) == before
    settle(run_dir, lambda attempt: False)
    assert content(run_dir) == before


def test_a_text_that_is_no_text_comes_back(run_dir: Path) -> None:
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.execute("insert into odd values (cast(x'61ff62' as text))")
        db.commit()
    settle(run_dir, lambda attempt: True)
    look = "select hex(v), typeof(v) from odd order by rowid"
    with closing(sqlite3.connect(run_dir / "run.db")) as db:
        before = db.execute(look).fetchall()
    with closing(open_database(run_dir, "b/1-1")) as db:
        db.execute("delete from odd")
        db.commit()
    settle(run_dir, lambda attempt: False)
    with closing(sqlite3.connect(run_dir / "run.db")) as db:
        assert db.execute(look).fetchall() == before


@pytest.mark.parametrize("alone", [True, False])
def test_a_full_disk_does_not_lose_the_record(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.executemany("insert into t (x) values (?)", [("x" * 1000,)] * 200)
        db.commit()
    settle(run_dir, lambda attempt: True)
    before = content(run_dir)
    with closing(open_database(run_dir, "b/1-1")) as db:
        db.execute("delete from t")
        db.commit()
    connect = sqlite3.connect

    def full(*where: Any, **options: Any) -> Any:
        database = connect(*where, **options)
        database.execute("pragma max_page_count = 1")  # as large as it is, and no larger
        return database

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", full)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            take_back(run_dir, "b/1-1", alone=alone)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            settle(run_dir, lambda attempt: False)
    settle(run_dir, lambda attempt: False)
    assert content(run_dir) == before


def test_what_cannot_be_taken_back_is_an_error_and_its_record_stays(run_dir: Path) -> None:
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.execute("delete from t where n = 1")
        db.execute("update po_undo set sql = 'insert into t (n) values (nonsense)'")
        db.commit()
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="nonsense"):
            settle(run_dir, lambda attempt: False)


def test_a_table_that_another_attempt_dropped_has_nothing_to_take_back(run_dir: Path) -> None:
    with closing(open_database(run_dir, "a/1-1")) as one, closing(open_database(run_dir, "b/1-1")) as two:
        one.execute("update t set x = 'one'")
        one.execute("delete from w")
        one.commit()
        two.execute("drop table t")
        two.commit()
    settle(run_dir, lambda attempt: attempt == "b/1-1")
    after = content(run_dir)
    assert "t" not in after and after["w"] == [("a", "a", 1)]


TRIGGERS = """
create table log (n integer primary key, what);
create trigger inserted after insert on t begin insert into log (what) values ('inserted ' || new.n); end;
create trigger updated after update on T begin insert into log (what) values ('updated ' || new.n); end;
create trigger deleted after delete on t begin insert into log (what) values ('deleted ' || old.n); end;
create trigger replaced after delete on w begin update t set x = old.a; end;
create view seen as select n from t;
create trigger instead instead of insert on seen begin insert into t (n) values (new.n); end;
"""
FIRING = [
    "insert into seen values (20)",
    "drop trigger deleted; delete from t; insert into t (n) values (9)",
    "drop table log; drop trigger inserted; drop trigger updated; drop trigger deleted; delete from t",
    "create trigger more before delete on t begin insert into log (what) values ('more'); end;"
    "delete from t where n = 2",
    "create trigger if not exists main.own after insert on log begin update log set what = 'own'; end;"
    "insert into t (n) values (30)",
]


@pytest.mark.parametrize("sql", [*WRITES, *FIRING])
def test_taking_back_fires_no_trigger_of_the_users(run_dir: Path, sql: str) -> None:
    with closing(open_database(run_dir, "setup/2-1")) as db:
        db.executescript(TRIGGERS)
        db.commit()
    settle(run_dir, lambda attempt: True)
    before = content(run_dir)
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.executescript(sql)
        db.commit()
    assert content(run_dir) != before
    settle(run_dir, lambda attempt: False)
    assert content(run_dir) == before
    with closing(open_database(run_dir, "b/1-1")) as db:  # they are there again, and fire
        db.execute("insert into t (n) values (100)")
        db.execute("update t set x = 'u' where n = 100")
        db.execute("delete from t where n = 100")
        last = db.execute("select what from log order by n desc limit 3").fetchall()
    assert last == [("deleted 100",), ("updated 100",), ("inserted 100",)]


@pytest.mark.parametrize("does", ["select raise(abort, 'rows of w stay')", "select stamp()"])
def test_a_trigger_that_refuses_does_not_keep_a_row(run_dir: Path, does: str) -> None:
    before = content(run_dir)["w"]
    with closing(open_database(run_dir, "setup/2-1")) as db:
        db.execute(f"create trigger keep before delete on w begin {does}; end")
        db.commit()
    settle(run_dir, lambda attempt: True)
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.create_function("stamp", 0, lambda: 1)  # only this connection has it
        db.execute("insert into w values ('x', 'y', 1)")
        db.commit()
    take_back(run_dir, "a/1-1", alone=False)
    assert content(run_dir)["w"] == before


def test_dropping_a_table_fires_no_trigger_of_the_users(run_dir: Path) -> None:
    with closing(open_database(run_dir, "setup/2-1")) as db:
        db.executescript(TRIGGERS)
        db.executescript(
            "create trigger keep before delete on w begin select raise(abort, 'rows of w stay'); end"
        )
        db.commit()
        log = db.execute("select * from log").fetchall()
    settle(run_dir, lambda attempt: True)
    before = content(run_dir)
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.executescript("drop table t; drop table w")
        db.commit()
        assert db.execute("select * from log").fetchall() == log
    settle(run_dir, lambda attempt: False)
    assert content(run_dir) == before


def test_all_writes_of_one_attempt_are_taken_back_in_their_order(run_dir: Path) -> None:
    before = content(run_dir)
    for _ in range(2):  # two stages
        with closing(open_database(run_dir, "a/1-1")) as db:
            for sql in WRITES[:12]:
                db.executescript(
                    sql.replace("insert into", "insert or replace into", 1) if "conflict" not in sql else sql
                )
            db.commit()
    settle(run_dir, lambda attempt: False)
    assert content(run_dir) == before


def test_attempts_side_by_side_are_told_apart(run_dir: Path) -> None:
    for n, attempt in enumerate(["m/1-1/0-1", "m/1-1/1-1", "m/1-1/2-1"]):
        with closing(open_database(run_dir, attempt)) as db:
            db.execute("create table if not exists rows (n)")
            db.executemany("insert into rows values (?)", [(n,), (n,)])
            db.commit()
    settle(run_dir, lambda attempt: attempt != "m/1-1/0-1")
    assert content(run_dir)["rows"] == [(1,), (1,), (2,), (2,)]


def test_a_table_that_another_row_found_there_stays(run_dir: Path) -> None:
    """It had been there for a moment: `create table if not exists` of the other row did nothing, its insert failed."""
    with (
        closing(open_database(run_dir, "m/1-1/0-1")) as first,
        closing(open_database(run_dir, "m/1-1/1-1")) as db,
    ):
        first.execute("create table if not exists rows (n)")
        first.commit()
        db.execute("create table if not exists rows (n)")
        take_back(run_dir, "m/1-1/0-1", alone=False)
        db.execute("insert into rows values (1)")
        db.commit()
    assert content(run_dir)["rows"] == [(1,)]


def test_rows_of_a_table_that_came_meanwhile_are_not_taken_back_with_it(run_dir: Path) -> None:
    """Two rows make the same table at the same moment: only one of them made it."""
    with (
        closing(open_database(run_dir, "m/1-1/0-1")) as first,
        closing(open_database(run_dir, "m/1-1/1-1")) as db,
    ):
        watch = db.watch

        def late(*, made: bool) -> None:
            watch(made=made)
            if not made and not db.in_transaction:  # looked at, and not begun yet
                first.execute("create table if not exists rows (n)")
                first.execute("insert into rows values (0)")
                first.commit()

        db.watch = late
        db.execute("create table if not exists rows (n)")
        db.commit()
    take_back(run_dir, "m/1-1/1-1", alone=False)
    assert content(run_dir)["rows"] == [(0,)]


def test_what_a_stage_rolled_back_needs_no_taking_back(run_dir: Path) -> None:
    before = content(run_dir)
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.execute("insert into t (n) values (50)")
        db.rollback()
        db.execute("create table late (n)")
        db.rollback()
        db.execute("create table if not exists late (n)")
        db.execute("insert into late values (1)")
        db.commit()
    take_back(run_dir, "a/1-1", alone=True)
    assert content(run_dir) == before


INSERTS = """
def pre_processing(ctx):
    db = ctx.io.db()
    db.execute("create table if not exists t (row)")
    db.execute("insert into t values (?)", (ctx.item,))
def inference(ctx):
    return ctx.llm.chat(f"row {ctx.item}").text
def integration(ctx):
    ctx.io.db().execute("insert into t values (?)", (ctx.item,))
    if not (ctx.io.task_dir / f"mended{ctx.item}").exists():
        (ctx.io.task_dir / f"mended{ctx.item}").touch()
        raise END
"""


def stages_ended() -> None:
    """Wait for the threads of a worker that gave its run back: they end with its process, which these tests share."""
    for thread in threading.enumerate():
        if thread.name.startswith("po-stage"):
            thread.join(10)


@pytest.mark.parametrize("rows", [None, 3])
@pytest.mark.parametrize("end", ["ValueError('fails once')", "OSError(28, 'No space left on device')"])
async def test_a_row_is_there_once_after_a_failure_and_after_a_worker_that_ended(
    bench: Bench, rows: int | None, end: str
) -> None:
    each = {} if rows is None else {"for_each": str(list(range(rows)))}
    retry = {"max_attempts": 2, "initial_delay": 0}
    bench.create([{"name": "a", "source": INSERTS.replace("END", end), "retry": retry, **each}])
    state = ""
    while not state:
        try:
            state = await bench.go()
        except Exception as error:
            assert "No space left" in str(error) or "full" in str(error)  # noqa: PT017 - which go it is that raises is chance
            await asyncio.to_thread(stages_ended)
    assert state == "done", bench.state.error
    async with bench.worker():
        pass
    failed = bench.events("item.failed")
    assert not failed, failed
    expected = [None, None] if rows is None else [n for n in range(rows) for _ in range(2)]
    assert [n for (n,) in content(bench.session.inputs.run_dir)["t"]] == expected


BATCH = """
def ingestion(ctx):
    db = ctx.io.db()
    db.execute("create table if not exists t (n)")
    db.execute("insert into t values (-1)")
    {async_}def work(row):
        if row == 2 and not (ctx.io.task_dir / "mended").exists():
            db.execute("insert into t values (200)")
            (ctx.io.task_dir / "mended").touch()
            raise OSError(28, "No space left on device")
        db.execute("insert into t values (?)", (row,))
        return row
    return {await_}ctx.io.batch([1, 2, 3], work, max_concurrency=1)
"""


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_what_a_recorded_piece_wrote_stays_with_its_outcome(bench: Bench, kind: str) -> None:
    words = {"async_": "async ", "await_": "await "} if kind == "async" else {"async_": "", "await_": ""}
    source = BATCH.format(**words)
    bench.create([{"name": "a", "source": source.replace("def ingestion", f"{words['async_']}def ingestion")}])
    with pytest.raises(Exception, match="full"):
        await bench.go()
    assert await bench.go() == "done", bench.state.error
    assert [n for (n,) in content(bench.session.inputs.run_dir)["t"]] == [-1, 1, 2, 3]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("create virtual table f using fts5(x)", "has no virtual tables"),
        ("-- mine\ncreate virtual table f using fts5(x)", "has no virtual tables"),
        ("alter table t drop column x", "create table NEW as select"),
        (";alter table t drop column x", "create table NEW as select"),
        ("drop table t t", "drop table NAME"),
    ],
)
def test_what_could_not_be_taken_back_is_refused(run_dir: Path, sql: str, said: str) -> None:
    before = content(run_dir)
    with closing(open_database(run_dir, "a/1-1")) as db:
        with pytest.raises(sqlite3.NotSupportedError, match=said):
            db.execute(sql)
        db.execute("insert into t (n) values (50)")
        db.commit()
    settle(run_dir, lambda attempt: False)
    assert content(run_dir) == before


def test_a_virtual_table_of_an_earlier_version_does_not_end_the_process(run_dir: Path) -> None:
    """Triggers on the tables behind it ended the worker with a segmentation fault."""
    with closing(sqlite3.connect(run_dir / "run.db")) as db:
        db.execute("create virtual table f using fts5(x)")
        db.commit()
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.execute("insert into f values ('found')")
        db.commit()
        assert db.execute("select x from f where f match 'found'").fetchall() == [("found",)]


def test_a_table_that_another_attempt_altered_is_still_recorded(run_dir: Path) -> None:
    with closing(open_database(run_dir, "a/1-1")) as one, closing(open_database(run_dir, "b/1-1")) as two:
        two.execute("insert into t (n, x) values (70, 'two')")
        two.commit()
        one.execute("alter table t add column more")
        one.execute("alter table w rename to w2")
        one.commit()
        two.execute("update t set more = 'kept' where n = 1")
        two.execute("insert into w2 values ('x', 'y', 1)")
        two.execute("delete from t where n = 70")
        two.commit()
    settle(run_dir, lambda attempt: attempt == "a/1-1")
    with closing(sqlite3.connect(run_dir / "run.db")) as db:
        assert db.execute("select n, more from t order by n").fetchall() == [(1, None), (2, None)]
        assert db.execute("select count(*) from w2").fetchone() == (1,)


def test_a_change_of_the_schema_that_is_rolled_back_needs_no_taking_back(run_dir: Path) -> None:
    before = content(run_dir)
    with closing(open_database(run_dir, "a/1-1")) as db:
        db.execute("insert into t (n) values (60)")
        db.execute("alter table t rename column x to other")
        db.execute("insert into t (n, other) values (61, 'o')")
        db.rollback()
        db.execute("insert into t (n, x) values (62, 'x')")
        db.commit()
    settle(run_dir, lambda attempt: False)
    assert content(run_dir) == before
