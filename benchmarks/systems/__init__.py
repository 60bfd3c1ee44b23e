"""The systems that are measured, each started and spoken to in its own way.

Each module of this package that has a function ``systems() -> list[System]`` adds its own.
"""

import pkgutil
from importlib import import_module

from benchmarks.systems.base import System


def _collect() -> dict[str, System]:
    found: dict[str, System] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        systems = getattr(import_module(module.name), "systems", None)
        for system in systems() if systems else ():
            if system.name in found:
                raise ValueError(f"Two systems are called {system.name!r}; rename one.")
            found[system.name] = system
    return found


#: By their names, in the order of the modules' names.
SYSTEMS: dict[str, System] = _collect()
