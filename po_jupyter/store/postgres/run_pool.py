"""The runs that wait for a worker, as PostgreSQL finds them: by index, however many wait."""

from __future__ import annotations

import random
from typing import LiteralString

from po_jupyter.store.postgres.schema import IS_HELD, IS_WAITING
from po_jupyter.store.postgres.shard import PostgresShard

# ruff: noqa: S608 - statements of constants
_OWNERS = 20  # whose first runs are looked at besides the most urgent ones of all
_OF_EACH = 50
_MOST_OWNERS = 500  # that are found, the next time others of them
HELD: LiteralString = f"SELECT run, body FROM {{table}} WHERE {IS_HELD} ORDER BY run"
URGENT: LiteralString = (
    f"SELECT run, body FROM {{table}} WHERE {IS_WAITING} AND kind = %s ORDER BY priority DESC, run LIMIT %s"
)
COUNT: LiteralString = f"SELECT count(*) FROM {{table}} WHERE {IS_WAITING}"
# One step of the index for each owner, none for each run.
_FIND_OWNERS: LiteralString = f"""
    WITH RECURSIVE found(kind, owner) AS (
        (SELECT kind, owner FROM {{table}} WHERE {IS_WAITING} AND kind = %s AND owner > %s ORDER BY owner LIMIT 1)
        UNION ALL
        SELECT kind, (SELECT owner FROM {{table}} AS head WHERE {IS_WAITING} AND head.kind = found.kind
            AND head.owner > found.owner ORDER BY owner LIMIT 1)
        FROM found WHERE found.owner IS NOT NULL)
    SELECT owner FROM found WHERE owner IS NOT NULL LIMIT %s"""
OF_OWNERS: LiteralString = f"""
    SELECT found.run, found.body FROM unnest(%s::bytea[]) AS of(owner) CROSS JOIN LATERAL (
        SELECT run, body FROM {{table}} AS head WHERE head.owner = of.owner AND kind = %s AND {IS_WAITING}
        ORDER BY priority DESC, run LIMIT %s) AS found"""


def owners(shard: PostgresShard, kind: int) -> list[bytes]:
    """Some owners of runs of a kind that wait: all, or others each time."""
    found = [owner for (owner,) in shard.rows(_FIND_OWNERS, (kind, b"", _MOST_OWNERS))]
    if len(found) == _MOST_OWNERS:  # there are more, which have their turn too
        beyond = shard.rows(_FIND_OWNERS, (kind, random.randbytes(16), _MOST_OWNERS))
        found = [owner for (owner,) in beyond] or found
    return random.sample(found, min(_OWNERS, len(found)))


def of_each(limit: int) -> int:
    """How many runs of each owner are looked at."""
    return min(limit, _OF_EACH)
