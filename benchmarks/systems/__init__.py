"""The systems that are measured.

Each module of this package with a function ``systems() -> list[System]`` adds its own.
"""

import pkgutil
from importlib import import_module

from benchmarks.systems.base import System

#: The modules whose systems come first. The others are compared with them.
FIRST = ("ours", "tutorial")


def _collect() -> dict[str, System]:
    found: dict[str, System] = {}
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    for name in sorted(names, key=lambda name: (name not in FIRST, name)):
        systems = getattr(import_module(f"{__name__}.{name}"), "systems", None)
        for system in systems() if systems else ():
            if system.name in found:
                raise ValueError(f"Two systems are called {system.name!r}; rename one.")
            found[system.name] = system
    return found


#: By name, in the order of the tables.
SYSTEMS: dict[str, System] = _collect()
