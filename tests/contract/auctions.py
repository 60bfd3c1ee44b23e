"""Another module with a ``Bid``."""

import msgspec


class Bid(msgspec.Struct):
    """A bid of the past."""

    pk: int
