"""Digests as names."""

import hashlib

from po_jupyter.model.values.digests import short_digest


def test_a_digest_is_the_beginning_of_the_sha256() -> None:
    whole = hashlib.sha256("ü".encode()).hexdigest()
    assert short_digest("ü") == short_digest("ü".encode()) == whole[:32]
    assert short_digest("ü", 8) == whole[:8]


def test_half_a_surrogate_pair_has_a_digest() -> None:
    assert len(short_digest("\ud800")) == 32
