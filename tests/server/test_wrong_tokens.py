"""Wrong tokens of an address: some are free, then it waits, longer each time."""

from __future__ import annotations

import pytest

from po_jupyter.errors import RateLimited
from po_jupyter.server.wrong_tokens import WrongTokens, place_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def wait_of(wrong: WrongTokens, address: str, token: str) -> int:
    try:
        wrong.check(address, token)
    except RateLimited as error:
        return int(error.retry_after or -1)
    return 0


def test_an_address_that_guesses_waits_longer_each_time(clock: Clock) -> None:
    """C7: counted before anything is compared; another address is not touched."""
    wrong = WrongTokens(3, clock)
    waits = []
    for n in range(16):
        clock.now += wait_of(wrong, "10.0.0.1", f"t{n}")
        wrong.check("10.0.0.1", f"t{n}")
        wrong.wrong("10.0.0.1", f"t{n}")
        waits.append(wait_of(wrong, "10.0.0.1", "new"))
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]
    assert wait_of(wrong, "10.0.0.2", "new") == 0
    clock.now += 600 + 901
    wrong.wrong("10.0.0.1", "much later")
    assert wait_of(wrong, "10.0.0.1", "new") == 0


def test_what_was_right_here_is_let_through(clock: Clock) -> None:
    """Nobody who guesses from the same proxy, or on the same machine, locks out those who are at work."""
    wrong = WrongTokens(1, clock)
    wrong.right("10.0.0.1", "mine")
    for n in range(5):
        wrong.wrong("10.0.0.1", f"t{n}")
    assert wait_of(wrong, "10.0.0.1", "mine") == 0
    assert wait_of(wrong, "10.0.0.1", "other") > 0
    wrong.wrong("10.0.0.1", "mine")  # revoked
    assert wait_of(wrong, "10.0.0.1", "mine") > 0


def test_an_old_token_of_a_forgotten_program_makes_only_itself_wait(clock: Clock) -> None:
    wrong = WrongTokens(3, clock)
    for _ in range(20):
        wrong.wrong("127.0.0.1", "old")
    assert wait_of(wrong, "127.0.0.1", "old") > 100
    assert wait_of(wrong, "127.0.0.1", "the right one") == 0


def test_many_addresses_do_not_fill_the_memory(clock: Clock) -> None:
    wrong = WrongTokens(3, clock)
    for n in range(30_000):
        wrong.wrong(f"a{n}", "t")
        wrong.right(f"a{n}", "u")
    assert len(wrong._attempts) <= 10_000
    assert len(wrong._right) <= 10_000


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("", ""),
        ("/tmp/socket", "/tmp/socket"),
    ],
)
def test_whoever_can_choose_among_addresses_counts_once(address: str, place: str) -> None:
    assert place_of(address) == place
