"""The tally of a vote: which answer counts, how many agree, and how many more have to be asked for. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import median_low

from po_jupyter.errors import PoError
from po_jupyter.model.pipeline.votes import VoteCount, Votes
from po_jupyter.model.values.canonical import canonical
from po_jupyter.model.values.json import JsonValue


class Tally:
    """The votes for one output so far, each at its place in the order in which they were asked for.

    A vote without an answer that fits is spoiled: it is for nothing, and the vote fails once half of all are.
    """

    def __init__(self, votes: Votes) -> None:
        """A tally without votes."""
        self._votes = votes
        self._answers: dict[int, JsonValue] = {}
        self._spoiled: dict[int, PoError] = {}

    def cast(self, place: int, answer: JsonValue) -> None:
        """Count an answer."""
        self._answers[place] = answer

    def spoil(self, place: int, error: PoError) -> None:
        """Count a vote that came to nothing."""
        self._spoiled[place] = error

    @property
    def asked(self) -> int:
        """Votes so far, the spoiled ones too."""
        return len(self._answers) + len(self._spoiled)

    @property
    def failure(self) -> PoError | None:
        """Why the vote has no result: the first error, when half of the votes or more came to nothing."""
        if 2 * len(self._spoiled) < self._votes.n:
            return None
        return self._spoiled[min(self._spoiled)]

    def more(self) -> int:
        """Votes to ask for next: so many as are needed whatever they say. 0: the result stands."""
        n, agree = self._votes.n, self._votes.agree
        left = n - self.asked
        if self.failure is not None:
            return 0
        if not self.asked:
            return self._votes.fewest
        if not self._votes.stops_early:
            return left
        first, second = self._largest()
        if agree is not None and first + left >= agree:
            return min(max(agree - first, 0), left)
        # A tie is for the answer that had as many votes first, so a lead of nothing is enough. Of numbers the median
        # counts, which stays when more than half of all votes are the same.
        lacking = n // 2 + 1 - first if first and self._has_median else -(-(second + left - first) // 2)
        return min(max(lacking, 0), left)

    def result(self) -> tuple[JsonValue, VoteCount]:
        """The answer that counts, and how it came about. There is no `failure`."""
        keys = {place: self._key(self._answers[place]) for place in sorted(self._answers)}
        chosen = self._median() if self._has_median else _leader(keys.values())
        place = next(place for place, key in keys.items() if key == chosen)
        agreeing = sum(key == chosen for key in keys.values())
        return self._answers[place], {"agreeing": agreeing, "asked": self.asked, "n": self._votes.n}

    def _largest(self) -> tuple[int, int]:
        """The votes of the answer that has most, and of the next one."""
        counts = Counter(self._key(answer) for answer in self._answers.values())
        first, second = [*(count for _, count in counts.most_common(2)), 0][:2]
        return first, second

    @property
    def _has_median(self) -> bool:
        """Whether all answers are numbers. Where so many are equal as are enough, these count."""
        if self._votes.agree is not None and self._largest()[0] >= self._votes.agree:
            return False
        numbers = [self._number(answer) for answer in self._answers.values()]
        return all(_is_number(value) for _, value in numbers) and len({name for name, _ in numbers}) <= 1

    def _median(self) -> str:
        # The lower one of two in the middle: an answer that was given, which fits the schema.
        answers = list(self._answers.values())
        middle = median_low((self._number(answer)[1], place) for place, answer in enumerate(answers))
        return self._key(answers[middle[1]])

    def _number(self, answer: JsonValue) -> tuple[str, JsonValue]:
        """What is compared; of an object with one field the name of that and its value."""
        value = self._compared(answer)
        if self._votes.on is None and isinstance(value, Mapping) and len(value) == 1:
            return next(iter(value.items()))
        return "", value

    def _key(self, answer: JsonValue) -> str:
        return canonical(self._compared(answer))

    def _compared(self, answer: JsonValue) -> JsonValue:
        """The part of an answer that is compared."""
        if self._votes.on is not None:
            answer = answer.get(self._votes.on) if isinstance(answer, Mapping) else None
        return answer.strip() if isinstance(answer, str) else answer


def _leader(keys: Iterable[str]) -> str:
    """The key that is there most often, of several the one that was so often first."""
    counts: Counter[str] = Counter()
    leader, most = "", 0
    for key in keys:
        counts[key] += 1
        if counts[key] > most:
            leader, most = key, counts[key]
    return leader


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
