"""Digests of users, by which a change of a field is found."""

from datetime import date, datetime
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from django.db.models import Field, Model

from pm_realtime.conf import conf

#: Exactly these types have one `repr` for each value.
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, UUID, date, datetime})


def digest_of(user: Any) -> bytes:
    """A digest of the fields of ``user``, without those that ``RIGHTS_IGNORE`` names.

    Empty for a user that is no model. Fields that were deferred count as None.
    """
    if not isinstance(user, Model):
        return b""
    ignored = {*conf.RIGHTS_IGNORE}
    # The user of a site's own middleware may be lazy, and its `__dict__` is another then.
    values = vars(getattr(user, "_wrapped", user))
    parts = [
        (field.attname, _plain(field, values.get(field.attname)))
        for field in user._meta.concrete_fields
        if field.name not in ignored and field.attname not in ignored
    ]
    return blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=16).digest()


def _plain(field: "Field[Any, Any]", value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    prepared = field.get_prep_value(value)
    return bytes(prepared) if isinstance(prepared, memoryview) else str(prepared)
