"""The parts of an AsyncAPI document that refer to each other, put together."""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from pm_realtime.contract.json_schema import REF_PREFIX, Schema

SESSION: Final = "session"
#: A command and its answer have the same id.
CORRELATION: Final = {"$ref": "#/components/correlationIds/id"}


class Message(NamedTuple):
    """A message of a channel. ``reference`` is how operations refer to it."""

    key: str
    reference: dict[str, str]


class Builder:
    """Collects channels, operations and messages. Each gets a key of its own."""

    def __init__(self) -> None:
        self.channels: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[str, Any]] = {}
        self.schemas: dict[str, Schema] = {}

    def add_schema(self, key: str, schema: Schema) -> Schema:
        """A reference to a new schema. Its key has a dot, as no name of the site's types."""
        key = free_key(key, self.schemas)
        self.schemas[key] = schema
        return {"$ref": f"{REF_PREFIX}{key}"}

    def add_message(
        self, key: str, name: str, payload: Schema, *, is_answered: bool = False, summary: str = ""
    ) -> str:
        """The key of a new message. ``is_answered``: it is a command or an answer, with an id."""
        message: dict[str, Any] = {"name": name, "title": key}
        if summary:
            message["summary"] = summary
        if is_answered:
            message["correlationId"] = CORRELATION
        key = free_key(key, self.messages)
        self.messages[key] = {**message, "payload": payload}
        return key

    def add_channel(self, key: str, **words: Any) -> "Channel":
        key = free_key(key, self.channels)
        self.channels[key] = {**words, "messages": {}}
        return Channel(self, key)


class Channel:
    """A channel of the document. Its operations send and receive what it has."""

    def __init__(self, builder: Builder, key: str) -> None:
        self.key = key
        self.reference = {"$ref": f"#/channels/{key}"}
        self._builder = builder
        self._messages: dict[str, Any] = builder.channels[key]["messages"]

    def receive(self, name: str, message: str, replies: Iterable[str], **words: Any) -> None:
        """The server receives ``message`` from clients, and answers with one of ``replies``."""
        reply = {"channel": self.reference, "messages": [self._refer(each) for each in replies]}
        self._add(name, "receive", message, {**words, "reply": reply})

    def send(self, name: str, message: str, **words: Any) -> None:
        """The server sends ``message`` to clients."""
        self._add(name, "send", message, words)

    def _add(self, name: str, action: str, message: str, words: dict[str, Any]) -> None:
        operation = {
            "action": action,
            "channel": self.reference,
            "title": name,
            **words,
            "messages": [self._refer(message)],
        }
        operations = self._builder.operations
        operations[free_key(name, operations)] = operation

    def _refer(self, key: str) -> dict[str, str]:
        self._messages.setdefault(key, {"$ref": f"#/components/messages/{key}"})
        return {"$ref": f"#/channels/{self.key}/messages/{key}"}


def free_key(text: str, taken: Iterable[str]) -> str:
    """``text`` in the characters of keys, with a number if it is among those ``taken``."""
    key = found = re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("_") or "_"
    number = 1
    while found in taken:
        number += 1
        found = f"{key}_{number}"
    return found
