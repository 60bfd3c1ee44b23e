"""Many identities are rechecked together, each as Django decides for a request."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper

from pm_realtime.auth import Identity, recheck_identities, sessions
from pm_realtime.auth.identity import identity_of
from pm_realtime.auth.recheck import recheck_sessions
from pm_realtime.protocol import CloseCode
from tests.support.helpers import errors_of
from tests.support.sessions import Browser, lose

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()


class FailingBackend(ModelBackend):
    """A site's own authentication backend, which fails for one user."""

    def get_user(self, user_id):
        user = super().get_user(user_id)
        if user is not None and user.username == "unlucky":
            raise LookupError("a bug")
        return user


@pytest.fixture
def make_identity(make_user):
    """Make a user who logs in, and return their identity."""

    def make(name, role="user"):
        browser = Browser(make_user(role, name))
        browser.log_in_now()
        return identity_of(browser.user, sessions.read(browser.key), role)

    return make


def change(identity, **fields):
    User.objects.filter(pk=identity.user.pk).update(**fields)


def test_each_identity_gets_its_result_with_three_queries(
    make_identity, django_assert_max_num_queries
):
    names = ["fine", "deleted", "inactive", "changed", "ended"]
    identities = {name: make_identity(name, "editor") for name in names}
    identities["without a session"] = Identity(identities["fine"].user, identities["fine"].user_id)
    identities["deleted"].user.delete()
    change(identities["inactive"], is_active=False)
    change(identities["changed"], password="another")
    lose(identities["ended"].session.key)
    with django_assert_max_num_queries(3):
        results = dict(zip(identities, recheck_identities([*identities.values()]), strict=True))
    codes = {name: result.code for name, result in results.items() if result.code is not None}
    assert codes == {
        "deleted": CloseCode.USER_GONE,
        "inactive": CloseCode.USER_GONE,
        "changed": CloseCode.SESSION_ENDED,
        "ended": CloseCode.SESSION_ENDED,
    }
    assert [name for name, result in results.items() if result.is_uncertain] == ["changed"]
    for name in ("fine", "without a session"):
        assert results[name].identity.role == "editor"
    assert not any(result.is_session_only for result in results.values())


def test_recheck_of_sessions_reads_no_users(make_identity, django_assert_max_num_queries):
    fine, ended = make_identity("fine"), make_identity("ended")
    change(fine, is_active=False)
    lose(ended.session.key)
    with django_assert_max_num_queries(1):
        results = recheck_sessions([fine, ended])
    assert [result.code for result in results] == [None, CloseCode.SESSION_ENDED]
    assert all(result.is_session_only for result in results)


def test_error_over_one_identity_leaves_the_others_theirs(make_identity, settings, caplog):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.FailingBackend"]
    unlucky, other = make_identity("unlucky"), make_identity("other")
    results = recheck_identities([unlucky, other])
    assert [(result.identity is None, result.code) for result in results] == [
        (True, None),
        (False, None),
    ]
    assert len(errors_of(caplog)) == 1


def test_database_that_is_away_raises(make_identity, monkeypatch):
    identity = make_identity("fine")

    def fail(self, *args):
        raise OperationalError("the database is away")

    monkeypatch.setattr(CursorWrapper, "execute", fail)
    with pytest.raises(OperationalError):
        recheck_identities([identity])
