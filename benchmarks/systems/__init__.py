"""The systems that are measured, each started and spoken to in its own way.

Each module of this package that has a function ``systems() -> list[System]`` adds its own.
"""

import pkgutil
from importlib import import_module

from benchmarks.systems.base import System

#: What the others are compared with.
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


#: By their names, what is compared first.
SYSTEMS: dict[str, System] = _collect()
