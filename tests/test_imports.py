"""The order of the layers: each file of the package imports only from rows above its own."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

import pm_realtime

PACKAGE = Path(pm_realtime.__file__).parent

#: Top row first. A file imports from rows above its own, never from beside or below.
ROWS = (
    ("_version",),
    ("exceptions",),
    ("signals",),
    ("protocol",),
    ("client_options",),
    ("limits", "loops", "shortcut", "desk"),
    ("conf",),
    ("redis.driver",),
    ("redis.errors", "redis.pools"),
    ("redis",),
    ("wire",),
    ("layers",),
    ("forks", "turns", "threads", "outbox"),
    ("background", "batches", "outage", "sockets", "repetitions"),
    ("layer.config", "layer.contract"),
    ("layer.channels_redis",),
    ("layer.adapters",),
    ("layer",),
    ("road",),
    ("groups",),
    ("roles",),
    ("rooms", "sessions"),
    ("transport", "echo"),
    ("backends.base", "backends.redis.scripts"),
    ("backends.redis.client", "handshakes"),
    ("backends.redis.node",),
    ("backends.memory", "backends.redis.backend"),
    ("backends.redis",),
    ("backends",),
    ("orders", "messages"),
    ("places",),
    ("members",),
    ("link",),
    ("hub", "arrears"),
    ("shutdown", "parcels"),
    ("push",),
    ("pm_realtime",),
    ("management", "management.commands", "browser.constants"),
    ("management.base",),
    (
        "management.commands.realtime_send",
        "management.commands.realtime_stats",
    ),
    ("auth", "admission", "origins", "receivers", "rules"),
    ("checker", "handlers"),
    ("rights", "inbox", "journal"),
    ("consumers",),
    ("views", "templatetags"),
    ("templatetags.pm_realtime",),
    ("routing", "asgi", "urls"),
    ("checks",),
    ("testing",),
    ("apps",),
)
ROW_OF = {name: row for row, names in enumerate(ROWS) for name in names}

#: Files whose row allows more than they may have.
ONLY = {
    "_version": set(),
    "exceptions": set(),
    "signals": set(),
    "limits": set(),
    "client_options": set(),
    "conf": {"client_options"},
    "forks": set(),
    "turns": set(),
    "loops": set(),
    "repetitions": set(),
    "handshakes": {"conf", "exceptions", "limits", "loops", "protocol", "repetitions", "turns"},
    "redis.driver": set(),
    "redis.errors": {"redis.driver"},
    "redis.pools": {"redis.driver"},
    "redis": {"redis.driver", "redis.errors", "redis.pools"},
    "layer.config": {"conf"},
    "layer.contract": {"wire"},
    "layer.channels_redis": {"exceptions", "layer.contract", "outage", "redis", "turns", "wire"},
    "layer.adapters": {"forks", "layer.channels_redis", "layer.contract", "layers"},
    "layer": {"layer.adapters", "layer.channels_redis", "layer.config", "layer.contract"},
    "background": {"forks"},
    "batches": {"conf", "loops", "outbox", "protocol"},
    "outage": {"forks"},
    "layers": {"conf", "wire"},
    "road": {"exceptions", "layer", "layers", "redis", "turns", "wire"},
    "echo": {"exceptions", "groups", "layer", "layers", "outage", "road", "wire"},
    "protocol": {"exceptions"},
    "groups": {"conf"},
    "origins": {"conf"},
    "roles": {"conf"},
    "sessions": set(),
    "arrears": {"forks", "layers", "transport"},
    "rooms": {"conf", "roles", "exceptions", "protocol"},
    "backends.base": {"protocol", "exceptions"},
    "backends.memory": {"backends.base"},
    "backends.redis": {"backends.redis.backend", "backends.redis.node"},
    "backends.redis.backend": {
        "backends.base",
        "backends.redis.client",
        "backends.redis.node",
        "backends.redis.scripts",
        "background",
        "exceptions",
        "redis",
    },
    "backends.redis.client": {"conf", "exceptions", "layer", "redis", "turns"},
    "backends.redis.node": {
        "backends.base",
        "backends.redis.client",
        "backends.redis.scripts",
        "exceptions",
        "outage",
    },
    "backends.redis.scripts": set(),
    "backends": {"conf", "forks", "layer", "backends.base"},
    "orders": set(),
    "messages": {"layers"},
    "places": {"groups", "messages"},
    "members": {"messages", "places"},
    "pm_realtime": {"push", "_version"},
    "shutdown": {"backends", "conf", "exceptions", "hub", "loops", "protocol"},
    "management": set(),
    "management.commands": set(),
    "browser.constants": {"protocol"},
    "views": set(),
    "templatetags": set(),
    "templatetags.pm_realtime": {"client_options", "conf"},
}
#: Imports that no row rules out and the shape of the package does.
NEVER = {("push", "hub"), ("parcels", "hub"), ("views", "consumers"), ("hub", "push")}


def name_of(path):
    """A file as the table calls it: ``backends.base``; a package by its own name."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) or "pm_realtime"


def sources():
    return {name_of(path): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


def modules_named(dotted, names, known):
    """The files of the package that ``from dotted import names`` reads."""
    if dotted != "pm_realtime" and not dotted.startswith("pm_realtime."):
        return set()
    base = dotted.removeprefix("pm_realtime").lstrip(".")
    inside = {f"{base}.{name}".lstrip(".") for name in names}
    found = inside & known
    if found != inside or not names:
        found = found | {base or "pm_realtime"}
    return found


def imports_of(source, known):
    """The files of the package that ``source`` imports, relative imports being unknown ones."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            dotted = "pm_realtime.relative" if node.level else node.module
            found |= modules_named(dotted, [alias.name for alias in node.names], known)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found |= modules_named(alias.name, [], known)
    return found


def imports_inside_functions(source):
    """The lines of imports of this package that wait until a function runs."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return {
        node.lineno
        for function in ast.walk(ast.parse(source))
        if isinstance(function, functions)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }


def graph_of(sources):
    known = set(ROW_OF) | set(sources)
    return {name: imports_of(source, known) for name, source in sources.items()}


def circles_in(graph):
    """Every circle that a walk through ``graph`` runs into."""
    circles, done = [], set()

    def walk(name, path):
        if name in path:
            circles.append([*path[path.index(name) :], name])
        elif name not in done:
            for imported in sorted(graph.get(name, ())):
                walk(imported, [*path, name])
            done.add(name)

    for name in graph:
        walk(name, [])
    return circles


def mistakes_in(sources):
    """What is wrong with the imports, a sentence each."""
    graph = graph_of(sources)
    found = [f"{name} is not in the table" for name in sources if name not in ROW_OF]
    found += [f"{name} is in the table and nowhere else" for name in ROW_OF if name not in sources]
    for name, imported in sorted(graph.items()):
        for other in sorted(imported):
            if ROW_OF.get(other, len(ROWS)) >= ROW_OF.get(name, 0):
                found.append(f"{name} imports {other}, which is not above it")
            elif other not in ONLY.get(name, {other}) or (name, other) in NEVER:
                found.append(f"{name} must not import {other}")
    for circle in circles_in(graph):
        found.append(f"a circle: {' > '.join(circle)}")
    for name, source in sorted(sources.items()):
        for line in sorted(imports_inside_functions(source)):
            found.append(f"{name}, line {line}: an import inside a function")
    return found


def test_every_import_points_upwards():
    assert mistakes_in(sources()) == []


def test_push_knows_nothing_of_the_hub():
    graph = graph_of(sources())
    reached, waiting = set(), {"push"}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= graph[name] - reached
    assert "hub" not in reached
    assert "consumers" not in reached


def test_the_table_names_each_file_once():
    names = [name for row in ROWS for name in row]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "line", "mistake"),
    [
        ("protocol", "from pm_realtime.conf import conf", "protocol imports conf, which is not"),
        ("conf", "import pm_realtime.rooms", "conf imports rooms, which is not above it"),
        ("rooms", "from pm_realtime import hub", "rooms imports hub, which is not above it"),
        ("hub", "from pm_realtime import layers, push", "hub imports push, which is not above"),
        ("roles", "from pm_realtime.backends.memory import A", "roles imports backends.memory"),
        ("roles", "from pm_realtime.backends import base", "roles imports backends.base"),
        ("roles", "from pm_realtime import send_to_user", "roles imports pm_realtime, which is"),
        ("layers", "from pm_realtime.echo import x", "layers imports echo, which is not above"),
        ("conf", "from pm_realtime.conf import conf", "conf imports conf, which is not above it"),
        ("push", "from pm_realtime.hub import get_hub", "push must not import hub"),
        ("push", "from pm_realtime import hub", "push must not import hub"),
        ("views", "from pm_realtime.consumers import A", "views must not import consumers"),
        ("backends", "from pm_realtime.backends.memory import A", "backends must not import"),
        ("groups", "from pm_realtime.limits import Rate", "groups must not import limits"),
        ("auth", "from .conf import conf", "auth imports relative, which is not above it"),
        ("conf", "def f():\n    import pm_realtime.hub", "an import inside a function"),
        ("conf", "async def f():\n    from json import loads", "an import inside a function"),
        ("conf", "if x:\n    from pm_realtime.hub import Hub", "conf imports hub, which is not"),
        ("brand_new", "import json", "brand_new is not in the table"),
    ],
)
def test_a_fabricated_mistake_is_caught(name, line, mistake):
    fabricated = sources()
    fabricated[name] = fabricated.get(name, "") + "\n" + line + "\n"
    assert any(mistake in found for found in mistakes_in(fabricated))


def test_a_fabricated_circle_is_caught_and_named():
    fabricated = sources()
    fabricated["exceptions"] += "\nfrom pm_realtime.protocol import encode\n"
    circle = next(found for found in mistakes_in(fabricated) if found.startswith("a circle"))
    names = circle.removeprefix("a circle: ").split(" > ")
    assert names[0] == names[-1]
    graph = graph_of(fabricated)
    assert all(other in graph[name] for name, other in pairwise(names))


def test_a_file_that_is_gone_is_caught():
    fabricated = sources()
    del fabricated["limits"]
    assert "limits is in the table and nowhere else" in mistakes_in(fabricated)
