"""How many of several may fail. Pure."""


def allowed_failures(threshold: float, total: int) -> int:
    """The largest number of `total` whose part is no more than `threshold`."""
    allowed = int(threshold * total)
    return allowed + ((allowed + 1) / total <= threshold)  # 0.29 * 100 is a little less than 29
