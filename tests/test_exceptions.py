"""The exceptions of the package are those of the documented tree."""

import importlib
import pkgutil
import re

from django.core.management import CommandError

import pm_realtime
from pm_realtime import exceptions
from pm_realtime.exceptions import RealtimeError

TREE = re.findall(
    r"^((?:│ {3}| {4})*(?:[├└]── )?)(\w+)(?=$| {4})", exceptions.__doc__, re.MULTILINE
)


_OF_OTHERS = (CommandError, AssertionError)


def documented_parents():
    """The name of each exception with that of the one above it."""
    path, parents = [], {}
    for indent, name in TREE:
        path[len(indent) // 4 :] = [name]
        parents[name] = path[-2] if path[1:] else None
    return parents


def exceptions_of_the_package():
    """The public ones by name, without those of management commands and of a site's tests."""
    found = {}
    for module in pkgutil.walk_packages(pm_realtime.__path__, "pm_realtime."):
        for name, value in vars(importlib.import_module(module.name)).items():
            is_ours = isinstance(value, type) and value.__module__.startswith("pm_realtime.")
            if not is_ours or name.startswith("_") or issubclass(value, _OF_OTHERS):
                continue
            if issubclass(value, BaseException):
                found[name] = value
    return found


def test_documented_tree_is_that_of_the_classes():
    found = {name: each.__bases__[0].__name__ for name, each in exceptions_of_the_package().items()}
    assert found.pop("RealtimeError") == "Exception"
    parents = documented_parents()
    assert parents.pop("RealtimeError") is None
    assert found == parents


def test_all_exceptions_have_the_base_class():
    for each in exceptions_of_the_package().values():
        assert issubclass(each, RealtimeError)
