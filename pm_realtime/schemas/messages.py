"""The errors of msgspec and of pydantic in one form: the expected value, and its path."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import inspect

from pm_realtime.schemas.choices import choices_at
from pm_realtime.schemas.payload_types import InvalidPayload, join_paths

_MISSING: Final = "Expected a value, got none."
_UNKNOWN: Final = "Expected no field of this name."

#: After the message of msgspec. ``key``: it is about a key of the dict there.
_AT: Final = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`\Z", re.DOTALL)
_FIELD: Final = re.compile(r"Object (missing required|contains unknown) field `(.*)`\Z", re.DOTALL)
#: The first name of the field with the tag of a union of pydantic.
_TAG_FIELD: Final = re.compile(r"'([^']*)'")
_NO_CHOICE: Final = re.compile(r"Invalid (?:enum )?value (.*)\Z", re.DOTALL)
#: Beginnings of messages, and the sentences that say what was expected.
_REPHRASED: Final = tuple(
    (re.compile(pattern, re.DOTALL), sentence)
    for pattern, sentence in (
        (_NO_CHOICE.pattern, r"Expected one of its possible values, got \1"),
        (r"Invalid (.*)\Z", r"Expected a valid \1"),
        (r"(\w+)(?: value)?(?: is)? out of range\Z", r"Expected a smaller \1"),
        # pydantic
        (r"Input should be (greater|less|a multiple)(.*)\Z", r"Expected a value \1\2"),
        (r"Input should be (.*)\Z", r"Expected \1"),
        (r"Input should have (.*)\Z", r"Expected a value with \1"),
        (r"(\w+) should have (.*)\Z", r"Expected \1 with \2"),
        (r"(\w+) should match (.*)\Z", r"Expected \1 that matches \2"),
        (r"(?:Value|Assertion) (?:error|failed), (.*)\Z", r"\1"),
        (r"(\w[\w ]*) should be (.*)\Z", r"Expected \1 to be \2"),
        (r"Unable to (.*)\Z", r"Expected another value: unable to \1"),
    )
)


def from_msgspec(
    error: msgspec.ValidationError, info: inspect.Type | None = None, *, root: str = ""
) -> InvalidPayload:
    """The error of msgspec as one of ours.

    ``info`` is the type that the value does not fit, and ``root`` the path of the value itself.
    """
    text, cause = str(error), error.__cause__
    # The sentence of a validator of the site may hold anything.
    message = str(cause) if isinstance(cause, ValueError | TypeError) else None
    found = _AT.search(text, 0 if message is None else len(message))
    if message is None:
        message = text[: found.start()] if found else text
    path = "" if found is None else found["path"].removeprefix(root).lstrip(".")
    if isinstance(cause, InvalidPayload):
        message = cause.message
    if found and found["key"]:
        return InvalidPayload(f"{_rephrase(message)[:-1]} as a key.", f"{path}[...]")
    if isinstance(cause, InvalidPayload):
        return InvalidPayload(message, join_paths(path, cause.path))
    if cause is None and (field := _FIELD.match(message)):
        sentence = _MISSING if field[1] == "missing required" else _UNKNOWN
        return InvalidPayload(sentence, join_paths(path, field[2]))
    if cause is None and info and (found := _NO_CHOICE.match(message)):
        choices = ", ".join(map(repr, choices_at(info, path)))
        if choices:
            return InvalidPayload(f"Expected one of {choices}, got {found[1]}.", path)
    return InvalidPayload(_rephrase(message), path)


def from_pydantic(error: Any, value: Any) -> InvalidPayload:
    """The first error of a ``ValidationError`` of pydantic about ``value`` as one of ours."""
    first = error.errors(include_url=False, include_input=False)[0]
    is_missing = first["type"] == "missing"
    path = _path_in(value, first["loc"], is_missing)
    if is_missing:
        return InvalidPayload(_MISSING, path)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return InvalidPayload(_UNKNOWN, path)
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return _from_tag(first["ctx"], path)
    return InvalidPayload(_rephrase(first["msg"]), path)


def _from_tag(context: Mapping[str, str], path: str) -> InvalidPayload:
    """The error of a union at ``path`` whose members pydantic tells apart by a tag."""
    found = _TAG_FIELD.match(context["discriminator"])  # None: a function of the site finds it.
    if found:
        path = join_paths(path, found[1])
    if "tag" not in context:
        return InvalidPayload(_MISSING if found else "Expected another value.", path)
    text = f"Expected one of {context['expected_tags']}, got {context['tag']!r}."
    return InvalidPayload(text, path)


def _path_in(value: Any, parts: Sequence[int | str], is_missing: bool) -> str:
    """The path of ``parts``, indexes and names, in ``value``.

    Parts that are not in it name members of unions, and are left out; not the missing last one.
    """
    path = before = ""
    for index, part in enumerate(parts):
        if part == "[key]":  # Of the dict before it.
            return f"{before}[...]"
        is_inside = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if is_inside or (isinstance(value, dict) and part in value):
            value = value[part]
        elif not (is_missing and index == len(parts) - 1):
            continue
        before, path = path, join_paths(path, f"[{part}]" if isinstance(part, int) else part)
    return path


def _rephrase(message: str) -> str:
    """A sentence that says what was expected."""
    for pattern, sentence in _REPHRASED:
        if found := pattern.match(message):
            message = found.expand(sentence)
            break
    return message if message.endswith((".", "!", "?")) else f"{message}."
