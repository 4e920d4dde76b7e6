"""Usage by owner and day, kept in step with the logs of the runs (see `engine.budgets.daily_usage`).

A document lags behind the logs until somebody asks, or until a run is deleted: then its log is read first. So
it is never the truth about a run that exists, and the only one about those that are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from po_jupyter.engine.budgets import daily_ledger as ledger
from po_jupyter.engine.budgets import daily_usage as daily
from po_jupyter.errors import CorruptRow, NotFound
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store import documents
from po_jupyter.store.protocol import Head, Store

_AT_ONCE = 200  # runs between two writes: what was read is not read again after a crash


class DailyUsage:
    """Counts the usage of runs. Every method blocks on the store: call them in a thread."""

    def __init__(self, store: Store) -> None:
        """Nothing is read yet."""
        self._store = store

    def report(self, owner: str | None, days: int) -> JsonObject:
        """`{days, total}` as `engine.budgets.daily_usage.report` has it, of the last `days` days, and `by_pipeline`;
        of everybody, and with `owners` for each, when `owner` is None. Reads what runs wrote since the last report."""
        since = (datetime.now(UTC) - timedelta(days=days - 1)).strftime("%Y-%m-%d")
        heads = self._heads(owner)
        pipelines: dict[str, daily.DailySums] = {}
        if owner is not None:
            theirs = self._days(owner, heads.get(owner[:400], {}), pipelines)
            return {**daily.report(theirs, since), "by_pipeline": daily.pipelines_to_json(pipelines, since)}
        everybody = daily.DailySums()
        owners: JsonObject = {}
        recorded = {daily.owner_of(name) for name in self._store.names(daily.KIND)}
        for one in sorted(recorded | heads.keys()):
            theirs = self._days(one, heads.get(one, {}), pipelines)
            daily.add_days(everybody, theirs)
            report = daily.report(theirs, since)
            if report["days"]:
                owners[one] = report
        by_pipeline = daily.pipelines_to_json(pipelines, since)
        return {**daily.report(everybody, since), "by_pipeline": by_pipeline, "owners": owners}

    def spent_today(self, owner: str, today: JsonObject | None) -> tuple[float, int]:
        """US dollars and tokens that the limits of an owner's day have as used; `today` is the day's entry of a
        report, which is newer where no run works under a limit."""
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        used = ledger.used(self._store.get(ledger.KIND, ledger.name_of(owner, day)))
        if today is None or today["day"] != day:
            return used.usd, used.tokens
        tokens = int(today["input_tokens"] + today["output_tokens"])
        return max(used.usd, float(today["cost"] or 0.0)), max(used.tokens, tokens)

    def _heads(self, owner: str | None) -> dict[str, dict[str, Head]]:
        by_owner: dict[str, dict[str, Head]] = {}
        cursor: str | None = None
        while True:
            page = self._store.runs(owner=owner, cursor=cursor, limit=200)
            for head in page.heads:
                by_owner.setdefault(head["owner"][:400], {})[head["run"]] = head
            cursor = page.next
            if cursor is None:
                return by_owner

    def _days(
        self, owner: str, heads: Mapping[str, Head], pipelines: dict[str, daily.DailySums]
    ) -> daily.DailySums:
        """The days of an owner; those of each pipeline are added to `pipelines`."""
        document = self._advance(owner, heads, gone=True)
        days = daily.DailySums()
        daily.add_days(days, document["days"])
        for name, theirs in document.get("pipelines", {}).items():
            daily.add_days(pipelines.setdefault(name, {}), theirs)
        for run, entry in document["runs"].items():
            head = heads.get(run)
            sums = daily.settled(entry, head)
            daily.add_days(days, sums)
            pipeline = head["pipeline"] if head is not None else entry.get("pipeline")
            if pipeline is not None:
                daily.add_days(pipelines.setdefault(pipeline, {}), sums)
        return days

    def count(self, heads: Iterable[Head]) -> None:
        """Count all that these runs used: needed before they are deleted. Raises Conflict or StoreError; then they
        must not be deleted."""
        owners: dict[str, dict[str, Head]] = {}
        for head in heads:
            owners.setdefault(head["owner"], {})[head["run"]] = head
        for owner, theirs in owners.items():
            runs = list(theirs)
            for at in range(0, len(runs), _AT_ONCE):
                self._advance(owner, {run: theirs[run] for run in runs[at : at + _AT_ONCE]})

    def count_rest(self, head: Head, merged: int) -> None:
        """Count what a child run used after record `merged`, which is not in the log of the whole: needed before it is
        deleted. Raises Conflict or StoreError."""
        if head["n"] <= merged:
            return

        def change(old: daily.UsageDocument | None) -> daily.UsageDocument:
            new = old if old is not None else daily.empty()
            before: daily.RunUsage = {"n": merged, "open": {}, "days": {}}
            rest = daily.advanced(before, self._store.records(head["run"], after=merged))
            return {**new, "runs": {**new["runs"], head["run"]: {**rest, "pipeline": head["pipeline"]}}}

        documents.update(
            self._store, daily.KIND, daily.name_of(head["owner"]), change, subject="the usage by day"
        )

    def _advance(self, owner: str, heads: Mapping[str, Head], *, gone: bool = False) -> daily.UsageDocument:
        """Bring the entries of these runs up to date; with `gone` settle those of runs that were deleted."""

        def change(old: daily.UsageDocument | None) -> daily.UsageDocument | None:
            new = old if old is not None else daily.empty()
            runs = dict(new["runs"])
            for run, head in heads.items():
                entry = runs.get(run)
                counted = entry["n"] if entry is not None else 0
                if counted < head["n"]:
                    with suppress(NotFound, CorruptRow):  # deleted just now; or what it used cannot be known
                        entry = daily.advanced(entry, self._store.records(run, after=counted))
                if entry is not None:
                    runs[run] = {**entry, "pipeline": head["pipeline"]}
            if runs != new["runs"]:
                new = {**new, "runs": runs}
            if gone and (lost := [run for run in runs if run not in heads and self._is_gone(run)]):
                new = daily.without(new, lost)
            return old if old is None and not new["runs"] else new

        name = daily.name_of(owner)
        changed = documents.update(self._store, daily.KIND, name, change, subject="the usage by day")
        return changed if changed is not None else daily.empty()

    def _is_gone(self, run: str) -> bool:
        try:
            self._store.head(run)
        except NotFound:
            return True
        except CorruptRow:
            return False
        return False
