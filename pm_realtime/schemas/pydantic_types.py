"""Types that pydantic reads. It is optional: a site with a model has imported it."""

import sys
from typing import Any, Final, get_args

import msgspec
import orjson

from pm_realtime.schemas.messages import from_pydantic
from pm_realtime.schemas.payload_types import InvalidPayload, PayloadType

_PACKAGES: Final = frozenset(("pydantic", "pydantic_core", "annotated_types"))
_MARKS: Final = ("__pydantic_validator__", "__get_pydantic_core_schema__")


def is_model(annotation: Any) -> bool:
    """Whether ``annotation`` is for pydantic to read.

    That is a model, a dataclass or another type of pydantic, or ``Annotated[…]`` with its fields.
    """
    if sys.modules.get("pydantic") is None:
        return False
    if isinstance(annotation, type):
        return any(hasattr(annotation, mark) for mark in _MARKS) or _is_of_pydantic(annotation)
    metas = getattr(annotation, "__metadata__", ())
    return any(_is_of_pydantic(type(meta)) for meta in metas)


def _is_of_pydantic(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _PACKAGES


def has_model(annotation: Any) -> bool:
    """Whether ``annotation``, such as a union or a list, has a model in it; not in its fields."""
    return is_model(annotation) or any(map(has_model, get_args(annotation)))


def makes_instances(kind: type) -> bool:
    """Whether a value of the type ``kind``, which is for pydantic to read, is an instance of it."""
    return issubclass(kind, sys.modules["pydantic"].BaseModel)


class PydanticType(PayloadType):
    """An annotation with a model of pydantic."""

    def __init__(self, annotation: Any) -> None:
        super().__init__(annotation)
        pydantic: Any = sys.modules["pydantic"]
        self._error: type[Exception] = pydantic.ValidationError
        try:
            #: A ``pydantic.TypeAdapter``.
            self.adapter = pydantic.TypeAdapter(annotation)
            if not getattr(self.adapter, "pydantic_complete", True):
                self.adapter.rebuild()  # Raises if a name in it does not exist.
        except Exception as error:
            raise TypeError(str(error).partition("\n")[0]) from error

    def convert(self, value: Any) -> Any:
        try:
            # From a text, as JSON has no dates: strict models take them from texts only so.
            return self.adapter.validate_json(_to_json(value))
        except self._error as error:
            raise from_pydantic(error, value) from None
        except RecursionError:
            raise InvalidPayload("Expected less nesting.") from None

    def encode(self, value: Any) -> str:
        try:
            valid = self.adapter.validate_python(value)
            text: bytes = self.adapter.dump_json(valid, by_alias=True, warnings="error")
        except self._error as error:
            raise from_pydantic(error, value) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidPayload(f"{error}") from error
        return text.decode()


def _to_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # A great number.
        return msgspec.json.encode(value)
