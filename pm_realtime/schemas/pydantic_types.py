"""Types that pydantic reads. It is optional: where there is a model, the site has imported it."""

import sys
from typing import Any, get_args

import msgspec
import orjson

from pm_realtime.schemas.messages import from_pydantic
from pm_realtime.schemas.payload_types import InvalidPayload, PayloadType


def is_model(kind: Any) -> bool:
    """Whether ``kind`` is a model or a dataclass of pydantic."""
    return isinstance(kind, type) and "pydantic" in sys.modules and _has_validator(kind)


def _has_validator(kind: type) -> bool:
    return hasattr(kind, "__pydantic_validator__")


def has_model(annotation: Any) -> bool:
    """Whether ``annotation``, such as a union or a list, has a model in it; not in its fields."""
    if "pydantic" not in sys.modules:
        return False
    return is_model(annotation) or any(map(has_model, get_args(annotation)))


class PydanticType(PayloadType):
    """An annotation with a model of pydantic."""

    def __init__(self, annotation: Any) -> None:
        super().__init__(annotation)
        pydantic: Any = sys.modules["pydantic"]
        self._error: type[Exception] = pydantic.ValidationError
        try:
            #: A ``pydantic.TypeAdapter``.
            self.adapter = pydantic.TypeAdapter(annotation)
        except Exception as error:
            raise TypeError(str(error).partition("\n")[0]) from error

    def convert(self, value: Any) -> Any:
        try:
            # From a text, as JSON has no dates: strict models take them from texts only so.
            return self.adapter.validate_json(_to_json(value))
        except self._error as error:
            raise from_pydantic(error) from None
        except RecursionError:
            raise InvalidPayload("Expected less nesting.") from None

    def encode(self, value: Any) -> str:
        try:
            valid = self.adapter.validate_python(value)
            text: bytes = self.adapter.dump_json(valid, by_alias=True, warnings="error")
        except self._error as error:
            raise from_pydantic(error) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidPayload(f"{error}") from error
        return text.decode()


def _to_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # A great number.
        return msgspec.json.encode(value)
