"""What has to be true of a run after the chaos. Every answer is a list of what is not, in words."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tests.crash.chaos_plans import MAX_TOKENS, USED, Plan

TOKENS = sum(USED.values())
WORST = 40 + MAX_TOKENS  # tokens: more than any call here may take


def digest(record: Mapping[str, Any]) -> str:
    """A record of the log, in short."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


class Evidence:
    """What is known of one run at the end: its log, what people are shown, and what the model's server saw."""

    def __init__(
        self,
        plan: Plan,
        records: Sequence[dict[str, Any]],
        view: Mapping[str, Any],
        outputs: Mapping[str, Any],
        requests: Counter[str],
        seen: Sequence[str],
    ) -> None:
        self.plan = plan
        self.records = records
        self.view = view
        self.outputs = outputs
        self.seen = seen
        self.requests = requests  # by prompt
        self.events = [e for r in records for e in r["events"]]
        self.types = Counter(e["type"] for e in self.events)
        self.intents: Counter[str] = Counter()  # by key
        self.answered: Counter[str] = Counter()

    def problems(self) -> list[str]:
        """Everything that is wrong with it."""
        problems = [*self._log(), *self._journal(), *self._end(), *self._rows(), *self._bill()]
        return [f"{self.plan.key} ({self.plan.kind}): {line}" for line in problems]

    def _log(self) -> list[str]:
        problems = []
        offset, fence = 0, 0
        for n, record in enumerate(self.records, 1):
            if record["n"] != n or record["first"] != offset + 1:
                problems.append(f"a gap before record {record['n']}, offset {record['first']}")
            if record["fence"] < fence:
                problems.append(f"record {n} was written under fence {record['fence']} after {fence}")
            offset, fence = offset + len(record["events"]), record["fence"]
        for n, was in enumerate(self.seen):
            if n >= len(self.records) or digest(self.records[n]) != was:
                problems.append(f"record {n + 1} had been shown, and is lost or another one now")
        done: set[str] = set()
        for event in self.events:
            if event["type"] == "task.started" and event["task"] in done:
                problems.append(f"task {event['task']} was started again after it was done")
            if event["type"] == "task.done":
                done.add(event["task"])
        return problems

    def _journal(self) -> list[str]:
        """P3: no recorded call is ever sent again, and whatever was sent was announced first."""
        problems = []
        announced: Counter[str] = Counter()
        for call in (c for r in self.records for c in r["calls"]):
            key = call["key"]
            if call["kind"] == "intent":
                if key in self.answered:
                    problems.append(f"sent again although its answer was recorded: {key}")
                self.intents[key] += 1
                announced[self._prompt(key)] += 1
            elif call["kind"] == "withdrawn":
                self.intents[key] -= 1
            else:
                self.answered[key] += 1
        problems += [f"answered {n} times: {key}" for key, n in self.answered.items() if n > 1]
        retries = Counter(
            self._prompt(f"{e['task']}/{e['item'] if e.get('item') is not None else '-'}")
            for e in self.events
            if e["type"] == "call.retry"
        )
        for prompt, count in self.requests.items():
            if count > announced[prompt] + retries[prompt]:
                problems.append(f"{prompt!r} was sent {count} times, announced {announced[prompt]} times")
        again = sum(max(0, n - 1) for n in self.intents.values())
        unknown = sum(e["data"]["usage"]["unknown"] for e in self.events if e["type"] == "call.unknown")
        if again > unknown:
            problems.append(f"{again} calls repeated, {unknown} told as unknown")
        return problems

    def _prompt(self, key: str) -> str:
        """What a call's prompt must be, from its task and row."""
        name, item = key.split("/")[:2]
        if item == "-":
            return f"{self.plan.key} {name}"
        return self.plan.row(name, int(item), self.plan.rows[name][int(item)])

    def _end(self) -> list[str]:
        plan, view = self.plan, self.view
        code = (view["error"] or {}).get("code")
        late = plan.cancel_after is not None and view["state"] == "done"
        if view["state"] != plan.state and not late:
            return [f"ended {view['state']} ({code}), not {plan.state}: {view['error']}"]
        if plan.error is not None and code != plan.error:
            return [f"ended with {code}, not {plan.error}"]
        if plan.decision is not None and self.types["gate.decided"] != 1:
            return [f"its gate was decided {self.types['gate.decided']} times"]
        problems = []
        for task, expected in plan.outputs.items():
            output = self.outputs.get(task)
            if task in plan.rows:
                output = [row["output"] for row in output or ()]
                expected = [e if ok else None for e, ok in zip(expected, plan.rows[task], strict=True)]
            if output != expected:
                problems.append(f"the output of {task} is {output!r:.200}, not {expected!r:.200}")
        return problems

    def _rows(self) -> list[str]:
        problems = []
        outcomes: dict[str, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
        for item in (i for r in self.records for i in r["items"]):
            outcomes[item["task"]][item["index"]].append(item["ok"])
        for task, rows in self.plan.rows.items():
            for index, expected in enumerate(rows):
                results = outcomes[task][index]
                if len(results) > 1 or (expected is not None and results != [expected]):
                    problems.append(f"row {index} of {task} has the outcomes {results}, not [{expected}]")
        return problems

    def _bill(self) -> list[str]:
        problems = []
        good = sum(1 for r in self.records for c in r["calls"] if c["kind"] == "response" and c["ok"])
        if self.plan.budget is not None:
            if good * TOKENS > self.plan.budget:
                problems.append(f"{good * TOKENS} tokens recorded, the budget was {self.plan.budget}")
            unknown = sum(self.requests.values()) - len(self.answered)
            spent = sum(self.requests.values()) * TOKENS
            if spent > self.plan.budget + unknown * WORST:
                problems.append(f"{spent} tokens spent, {unknown} calls unknown, budget {self.plan.budget}")
        usage = self.view["usage"]
        counted = usage["input_tokens"] + usage["output_tokens"]
        if counted != good * TOKENS:
            problems.append(f"its usage says {counted} tokens, its journal {good * TOKENS}")
        return problems
