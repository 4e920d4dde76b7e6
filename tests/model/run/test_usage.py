"""Usage: sums of tokens and costs."""

from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.model.run.usage import Usage, total

_counts = st.integers(0, 10**9)
_usages = st.builds(
    Usage,
    input_tokens=_counts,
    output_tokens=_counts,
    cached_tokens=_counts,
    calls=_counts,
    unknown=_counts,
    reasoning_tokens=_counts,
    cache_write_tokens=_counts,
    cost=st.none() | st.integers(0, 1000).map(float),
)


@given(st.lists(_usages, max_size=5))
def test_a_total_adds_every_field_and_an_unknown_cost_stays_unknown(usages: list[Usage]) -> None:
    """DESIGN section 7: costs are null when unknown, never a sum with a hole."""
    result = total(usages)
    for name in (n for n in Usage.model_fields if n != "cost"):
        assert getattr(result, name) == sum(getattr(u, name) for u in usages)
    if any(u.cost is None for u in usages):
        assert result.cost is None
    else:
        assert result.cost == sum(u.cost or 0 for u in usages)
    assert Usage.model_validate(result.to_json()) == result


def test_a_log_with_half_a_token_is_read_all_the_same() -> None:
    assert Usage(input_tokens=1).plus({"input_tokens": 0.5, "calls": 1}).to_json()["input_tokens"] == 1.5
