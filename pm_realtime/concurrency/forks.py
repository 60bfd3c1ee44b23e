"""Reset of state that a forked child must not share with its parent."""

import os
from collections.abc import Callable


def after_fork(reset: Callable[[], None]) -> None:
    """Have ``reset`` called in every forked child, on systems that can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)
