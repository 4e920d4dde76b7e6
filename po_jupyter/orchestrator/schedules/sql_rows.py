"""The rows of a SQL query as the seed of a slot, all of them or only new ones.

The mark, the greatest value that a run had, is in the seed of that run (`query.last`): whoever comes to a slot again
reads it there. A database that is away is no fault of the schedule: its policy for missed slots says what becomes of
the slot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from po_jupyter.errors import Forbidden, InvalidInput, InvalidSeed, Unavailable, Violation
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.plain_json import PlainJson
from po_jupyter.orchestrator.environment.permission import SCOPE
from po_jupyter.orchestrator.schedules.records import QueryMark, SeedSource
from po_jupyter.orchestrator.schedules.seed_files import SlotSeed
from po_jupyter.platform.sql_query import ENV, NewRows, check_query, database_url, read_query

MOST_ROWS = 100_000  # of one slot
_TIMEOUT = 60.0  # s; other schedules wait meanwhile


class DatabaseAway(Unavailable):
    """The database of a schedule cannot be reached."""


def check_sql(source: SeedSource, *, code_allowed: bool) -> None:
    """Raises InvalidInput for a query or a database that cannot be one, Forbidden for whoever may not run code."""
    if not code_allowed:
        raise Forbidden(
            f"a schedule with a SQL query reads any database that this server reaches: that needs {SCOPE}",
            hint="Ask the administrator of this server for the scope, or have the schedule read files.",
            details={"scope": SCOPE},
        )
    if not source["db"].startswith(ENV):
        problem = "name the variable of the orchestrator's environment that has the URL, as in env:TICKETS_URL"
        raise InvalidInput(violations=[Violation("seed.db", f"a URL is not kept with a schedule: {problem}")])
    check_query(source["sql"])
    database_url(source["db"])


def read_sql(source: SeedSource, mark: QueryMark | None, *, code_allowed: bool, most: int) -> SlotSeed | None:
    """The seed of a slot, `{rows}`; with `new_by` `{rows, query}` and None without a new row. At most `most` bytes.

    Raises InvalidInput, Forbidden, DatabaseAway.
    """
    check_sql(source, code_allowed=code_allowed)
    new_by = source.get("new_by")
    after = None if mark is None else mark["value"]
    new = None if new_by is None else NewRows(new_by, after)
    try:
        found = read_query(
            source["sql"],
            database_url(source["db"]),
            timeout=_TIMEOUT,
            most=MOST_ROWS,
            most_bytes=most,
            new=new,
        )
    except Unavailable as error:
        raise DatabaseAway(error.message) from None
    plain = _plain(found)
    if new_by is not None:
        # A database may hold its value for greater than what it says of it: 0.1 of 32 bits is, as one of 64.
        plain = [row for row in plain if row[new_by] != after]
    rows = _within(plain, new_by, most)
    if new_by is None:
        return SlotSeed({"rows": rows})
    if not rows:
        return None
    last = rows[-1][new_by]
    if isinstance(last, bool) or not isinstance(last, str | int | float):
        raise InvalidSeed(f"`new_by` is a column of numbers, text or times, and {new_by!r:.60} is none")
    return SlotSeed({"rows": rows, "query": {"new_by": new_by, "after": after, "last": last}})


def mark_of(source: SeedSource, data: Mapping[str, Any]) -> QueryMark | None:
    """The mark that the seed of a run moves to; None when it has none."""
    query = data.get("query")
    if "new_by" not in source or not isinstance(query, dict):
        return None
    return {"db": source["db"], "new_by": source["new_by"], "after": query["after"], "value": query["last"]}


def _plain(rows: list[dict[str, object]]) -> list[JsonObject]:
    conversion = PlainJson()
    plain: list[JsonObject] = conversion.value(rows, "rows")
    if conversion.refused:
        first = conversion.refused[0]
        raise InvalidSeed(
            "the query gives what JSON cannot:", violations=[Violation(first.where, first.message)]
        )
    return plain


def _within(rows: list[JsonObject], new_by: str | None, most: int) -> list[JsonObject]:
    """As many rows as one slot takes. Rows of one value stay together: a mark between them would lose some."""
    count = 0
    for row in rows:
        most -= len(json.dumps(row))
        if most < 0 or count == MOST_ROWS:
            break
        count += 1
    if count == len(rows):
        return rows
    kept = [] if new_by is None else [row for row in rows[:count] if row[new_by] != rows[count][new_by]]
    if not kept:
        raise InvalidSeed(
            "the rows of the query are more than a slot takes",
            hint=f"{MOST_ROWS:,} rows, and the setting inbox_max_bytes; with new_by they are read in parts.",
        )
    return kept
