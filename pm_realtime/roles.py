"""The hierarchy of roles, and the role of a user."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Model
from django.db.models.fields.related_descriptors import ManyToManyDescriptor

from pm_realtime.accounts import ask_resolver, is_logged_in
from pm_realtime.conf import conf
from pm_realtime.texts import plain_text


def rank(role: str | None) -> int:
    """The index of ``role`` in ``ROLES``: 0 for the lowest, -1 for None.

    Raises ``ValueError`` for a name that is not in ``ROLES``.
    """
    if role is None:
        return -1
    roles = conf.ROLES
    try:
        return roles.index(role)
    except ValueError:
        raise ValueError(f"expected one of ROLES ({', '.join(roles)}), got {role!r}") from None


def has_role(role: str | None, needed: str) -> bool:
    """Whether ``role`` may do what ``needed`` may."""
    return rank(role) >= rank(needed)


def roles_up_to(role: str | None) -> tuple[str, ...]:
    """``role`` and every lower one, all of which it includes."""
    return tuple(conf.ROLES[: rank(role) + 1])


def resolve_role(user: Any) -> str | None:
    """The default ``ROLE_RESOLVER``: the highest role that ``user`` has, from Django's own data.

    A superuser has the highest role. A member of a Django group with the name of a role has that
    role. Staff have ``admin``, if there is such a role. Any other logged-in user has the lowest.
    One query.

    Groups are those of :func:`has_django_groups`. Superusers and staff are those whose model has
    the flag and whose flag is ``True``: a text such as "False" or a method is no flag.
    """
    if not is_logged_in(user):
        return None
    roles = conf.ROLES
    if _is_flagged(user, "is_superuser"):
        return roles[-1]
    found = {roles[0]}
    if _is_flagged(user, "is_staff"):
        found.add("admin")
    if has_django_groups(user.__class__):
        found.update(_group_names(user))
    return max((role for role in roles if role in found), key=rank)


def has_django_groups(model: type) -> bool:
    """Whether ``groups`` of a user model is its many-to-many relation to Django's own ``Group``.

    Names of anything else that a site calls groups are not a source of roles.
    """
    groups = getattr(model, "groups", None)
    if not isinstance(groups, ManyToManyDescriptor) or groups.reverse:
        return False
    related: Any = groups.field.remote_field.model
    # Its module cannot be imported on a site without `django.contrib.auth`.
    group = related._meta.concrete_model
    return (group.__module__, group.__name__) == ("django.contrib.auth.models", "Group")


def _is_flagged(user: Any, name: str) -> bool:
    # A lazy object has the class of its user, and no attributes of its own.
    model = user.__class__
    return issubclass(model, Model) and hasattr(model, name) and getattr(user, name, None) is True


def _group_names(user: Any) -> list[str]:
    """The groups of ``user``, from its prefetch cache if they are there, which is then dropped."""
    fetched = getattr(user, "_prefetched_objects_cache", {}).pop("groups", None)
    if fetched is not None:
        return [group.name for group in fetched]
    # A replica of the database may not know yet that a group was left.
    database = router.db_for_write(user.groups.through, instance=user)
    groups = user.groups.using(database).filter(name__in=conf.ROLES)
    return list(groups.values_list("name", flat=True))


def role_of(user: Any) -> str | None:
    """The role of ``user`` by ``ROLE_RESOLVER``, None for an anonymous one. May query the database.

    Raises ``ImproperlyConfigured`` if the resolver returns a value that is not a role.
    """
    if not is_logged_in(user):
        return None
    found = ask_resolver("ROLE_RESOLVER", conf.ROLE_RESOLVER, user)
    role = plain_text(found)
    if found is not None and role not in conf.ROLES:
        raise ImproperlyConfigured(
            f"{conf.ROLE_RESOLVER} must return one of ROLES ({', '.join(conf.ROLES)}) or None, "
            f"got {found!r}."
        )
    return role
