"""What a forked child must not share with its parent."""

import os
from collections.abc import Callable


def after_fork(forget: Callable[[], None]) -> None:
    """Have ``forget`` called in every forked child; where nothing forks, never."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)
