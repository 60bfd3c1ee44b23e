"""Users by their primary keys as texts."""

from pm_realtime.auth import find_users


def test_users_are_found_with_one_query(users, django_assert_num_queries):
    keys = [str(each.pk) for each in users.values()]
    with django_assert_num_queries(1):
        found = find_users([*keys, "no-such-key"])
    assert found == {str(each.pk): each for each in users.values()}


def test_nobody_is_asked_for_without_a_query(users, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert find_users([]) == {}
