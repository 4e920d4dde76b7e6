"""The limits in headers are tested once."""

from __future__ import annotations

from po_jupyter.llm.rate_limits.reported_claim import RefillingBuckets, ReportedClaim


class TestReportedClaim:
    """Limits in headers are tested once."""

    def test_most_refused_confirms_it(self) -> None:
        claim = ReportedClaim()
        for _ in range(4):
            assert claim.can_test
            claim.sent()
            claim.verdict(answered=False, twice=False)
        assert claim.tested and claim.believed and not claim.can_test and not claim.refills

    def test_refusals_that_come_before_the_answers_do_not_confirm_it(self) -> None:
        """Refused at random are a few, and at once; the answers of slow calls come later: 357 s against 35 s."""
        claim = ReportedClaim()
        for _ in range(6):
            claim.sent()
        for _ in range(4):
            claim.verdict(answered=False, twice=False)
        assert not claim.tested
        claim.verdict(answered=True, twice=False)
        claim.verdict(answered=False, twice=False)
        assert claim.tested, "most were refused"

    def test_twice_as_much_as_it_says_refutes_it(self) -> None:
        claim = ReportedClaim()
        for n in range(10):
            claim.sent()
            claim.verdict(answered=True, twice=n > 6)
        assert not claim.believed

    def test_a_few_at_once_and_one_more_for_each_that_is_answered(self) -> None:
        claim = ReportedClaim()
        while claim.can_test:
            claim.sent()
        claim.verdict(answered=True, twice=False)
        sent = 0
        while claim.can_test:
            claim.sent()
            sent += 1
        assert sent == 2
        claim.unsent()
        assert claim.can_test

    def test_buckets_refill(self) -> None:
        buckets = RefillingBuckets(60.0, 0.0)
        limits = {"requests": 60}
        due = buckets.due(limits, (1, 0, 0, 0), 0.0)
        assert due is not None and 1.0 <= due[0] < 1.1 and due[1] == "requests"
        assert buckets.due(limits, (1, 0, 0, 0), 2.0) is None
        buckets.take(limits, (1, 0, 0, 0), 2.0)
        buckets.bound("requests", 0)
        assert buckets.due(limits, (1, 0, 0, 0), 2.0) is not None
