"""How rows of two runs are joined and judged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.orchestrator.views.inspection.comparison import ORDER, pair_rows
from po_jupyter.orchestrator.views.inspection.row_contents import RowContent, digest_of


def done(given_: str | None, answer: object = "x") -> RowContent:
    return RowContent("done", given_, digest_of(answer))


FAILED = RowContent("failed", "f", None)


def joined(a: list[RowContent], b: list[RowContent]) -> dict[tuple[int | None, int | None], str]:
    return {(pair.a, pair.b): pair.change for pair in pair_rows(a, b).rows}


def test_rows_in_another_order_are_the_same_rows() -> None:
    a, b = [done("p", 1), done("q", 2)], [done("q", 2), done("p", 3)]
    assert joined(a, b) == {(0, 1): "changed", (1, 0): "same"}


def test_a_row_more_moves_no_other() -> None:
    a = [done("p", 1), done("q", 2)]
    assert joined(a, [done("new"), *a]) == {(0, 1): "same", (1, 2): "same", (None, 0): "only_b"}
    assert joined([done("old"), *a], a) == {(1, 0): "same", (2, 1): "same", (0, None): "only_a"}


def test_rows_of_variants_are_joined_with_those_of_the_same_name() -> None:
    """Of maps with other variants a row was joined with the next one of the same input, whichever variant that was."""
    a = [done(row, row)._replace(variant=name) for row in "pqr" for name in ("now", "short")]
    b = [done(row, row)._replace(variant=name) for row in "pqr" for name in ("big", "now", "long")]
    pairs = {(pair.a, pair.b) for pair in pair_rows(a, b).rows}
    assert {pair for pair in pairs if None not in pair} == {(0, 1), (2, 4), (4, 7)}
    assert len(pairs) == 3 + 3 + 6


def test_whole_numbers_are_the_same_with_a_point_and_without() -> None:
    """A column of whole numbers is one of floats as soon as pandas has a row without."""
    assert digest_of({"n": 1, "m": [2.0]}) == digest_of({"m": [2], "n": 1.0})
    assert len({digest_of(value) for value in (1, True, "1", 1.5)}) == 4


def test_rows_with_another_or_an_unknown_input_are_joined_by_their_place() -> None:
    pairs = pair_rows([done("p", 1), done(None, 2)], [done("other", 1), done(None, 2)]).rows
    assert [(pair.a, pair.b, pair.change, pair.by_input) for pair in pairs] == [
        (0, 0, "same", False),
        (1, 1, "same", False),
    ]


def test_a_failure_is_no_answer() -> None:
    ok = done("f")
    assert joined([FAILED], [ok]) == {(0, 0): "changed"}
    assert joined([FAILED], [FAILED]) == {(0, 0): "failed"}
    assert joined([ok], [RowContent("pending", "f", None)]) == {(0, 0): "open"}


def test_the_order_of_fields_is_no_change() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": True})
    assert digest_of("\ud800")


contents = st.lists(
    st.builds(
        RowContent,
        st.sampled_from(["done", "failed", "pending"]),
        st.sampled_from([None, "p", "q", "r"]),
        st.sampled_from([None, "1", "2"]),
    ),
    max_size=8,
)


@given(contents, contents)
def test_every_row_is_in_one_pair(a: list[RowContent], b: list[RowContent]) -> None:
    pairs = pair_rows(a, b).rows
    assert sorted(pair.a for pair in pairs if pair.a is not None) == list(range(len(a)))
    assert sorted(pair.b for pair in pairs if pair.b is not None) == list(range(len(b)))
    ranks = [ORDER.index(pair.change) for pair in pairs]
    assert ranks == sorted(ranks), "those that changed come first"
    assert all(
        a[p.a].input == b[p.b].input for p in pairs if p.by_input and p.a is not None and p.b is not None
    )


@given(contents)
def test_a_run_beside_its_like_has_no_change(rows: list[RowContent]) -> None:
    assert {pair.change for pair in pair_rows(rows, rows).rows} <= {"same", "failed", "open"}
