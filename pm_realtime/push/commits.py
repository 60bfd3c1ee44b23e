"""Waiting for commits: of every transaction that is open in a thread."""

import itertools
import weakref
from collections.abc import Callable
from typing import Any, Final

from django.db import connections, transaction

from pm_realtime.layer import expect_sockets

_numbers: Final = itertools.count()


class AfterCommits:
    """Calls ``deliver`` once, when the transactions of all ``databases`` are committed.

    Django forgets it in a database after a rollback, and then it is never called.
    """

    def __init__(self, deliver: Callable[[], None], databases: list[Any]) -> None:
        self.number = next(_numbers)
        self._deliver = deliver
        self._databases = databases
        self._commits_left = len(databases)
        for db in databases:
            transaction.on_commit(self.note_commit, using=db.alias, robust=True)

    def note_commit(self) -> None:
        self._commits_left -= 1
        if self._commits_left == 0:
            self._deliver()

    def deliver_if_committed(self) -> None:
        """In a ``TestCase``: deliver if all blocks but those of the test have been left."""
        if any(_is_open(db) or db.needs_rollback for db in self._databases):
            return
        hooks = [hook[1] for db in self._databases for hook in db.run_on_commit]
        if 0 < self._commits_left <= hooks.count(self.note_commit):
            self._commits_left = 0
            self._deliver()


#: Those in a transaction of a ``TestCase``, which never commits.
_in_test_cases: Final = weakref.WeakSet[AfterCommits]()


def after_commits(deliver: Callable[[], None], *, refuses_manual: bool = True) -> bool:
    """Have ``deliver`` called when every transaction open in this thread is committed.

    Returns False if none is open. Transactions of a ``TestCase`` itself do not count: a test never
    commits them. Raises ``TransactionManagementError`` under ``set_autocommit(False)``, as Django's
    ``on_commit`` does, unless ``refuses_manual`` is False: nothing tells of such a commit.
    """
    opened, is_in_test_case = [], False
    for db in connections.all(initialized_only=True):
        if db.in_atomic_block:
            is_in_test_case |= any(map(_is_of_test_case, db.atomic_blocks))
            if _is_open(db):
                opened.append(db)
        elif refuses_manual and db.connection is not None and not db.autocommit:
            raise transaction.TransactionManagementError(
                f"The database {db.alias!r} is in manual transaction management, as after "
                "set_autocommit(False), so a push cannot wait for its commit. Pass "
                "on_commit=False to push at once, or push after set_autocommit(True)."
            )
    if is_in_test_case:
        expect_sockets()  # A test need not have any.
    if opened:
        waiting = AfterCommits(deliver, opened)
        if is_in_test_case:
            _in_test_cases.add(waiting)
    elif is_in_test_case:
        deliver_committed()
    return bool(opened)


def deliver_committed() -> None:
    """In a ``TestCase``: deliver what waited for blocks that have been left, in order."""
    for waiting in sorted(_in_test_cases, key=lambda each: each.number):
        waiting.deliver_if_committed()


def _is_open(db: Any) -> bool:
    """Whether ``db`` is in a transaction that may be committed: not only in that of a test."""
    is_only_test = db.atomic_blocks and all(map(_is_of_test_case, db.atomic_blocks))
    return db.in_atomic_block and not is_only_test


def _is_of_test_case(block: Any) -> bool:
    """Whether a ``TestCase`` entered ``block`` around a test, by the mark that Django gives it."""
    return bool(getattr(block, "_from_testcase", False))
