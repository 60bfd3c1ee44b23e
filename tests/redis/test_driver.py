"""The one import of redis-py."""

import ast
import inspect
from pathlib import Path

import redis.asyncio.connection

import pm_realtime
from pm_realtime.redis import default_socket_timeout

PACKAGE = Path(pm_realtime.__file__).parent


def imported_by(path):
    """The top-level names of everything that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def files_that_import(name):
    found = (path for path in PACKAGE.rglob("*.py") if name in imported_by(path))
    return {str(path.relative_to(PACKAGE)) for path in found}


def test_redis_py_is_imported_in_one_file():
    assert files_that_import("redis") == {"redis/driver.py"}


def test_default_socket_timeout_is_that_of_redis_py():
    signature = inspect.signature(redis.asyncio.connection.AbstractConnection.__init__)
    assert default_socket_timeout() == signature.parameters["socket_timeout"].default
