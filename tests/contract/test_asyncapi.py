"""The AsyncAPI document of a site."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from pm_realtime.commands import command
from pm_realtime.contract import Heading, document
from pm_realtime.protocol import CloseCode, ErrorCode, MessageType
from pm_realtime.schemas import push_type
from tests.contract import shop

pytestmark = pytest.mark.usefixtures("site")


def found():
    return document(Heading("Shop", "1.0.0"))


def resolve(whole, reference):
    part = whole
    for name in reference["$ref"].removeprefix("#/").split("/"):
        part = part[name]
    return part


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def message_of(whole, reference):
    """The message behind a reference of an operation, which is one to a channel."""
    return resolve(whole, resolve(whole, reference))


def payload_of(whole, reference):
    return message_of(whole, reference)["payload"]["properties"]


def test_every_reference_is_to_something(shop_site):
    whole = found()
    checked = [resolve(whole, each) for each in references(whole)]
    assert len(checked) > 100


def test_command_is_received_and_answered(configure):
    @command("auction.bid", room="auction:<int:pk>", min_role="user", rate="10/s", timeout=2.5)
    def bid(request, payload: int, pk: int) -> str:
        """Bid for
        what is sold.

        A bid is final.
        """

    whole = found()
    operation = whole["operations"]["auction.bid"]
    assert operation["action"] == "receive"
    assert operation["summary"] == "Bid for what is sold."
    assert operation["description"] == (
        "A bid is final.\n\nIts sender needs the role `user`. Its sender has to be in the room. "
        "Its rate is limited to `10/s`. It is answered within 2.5 s."
    )
    assert operation["security"] == [{"$ref": "#/components/securitySchemes/session"}]
    channel = resolve(whole, operation["channel"])
    assert channel["address"] == "auction:{pk}"
    assert list(channel["parameters"]) == ["pk"]
    assert operation["reply"]["channel"] == operation["channel"]
    (asked,) = operation["messages"]
    assert payload_of(whole, asked)["type"] == {"const": "auction.bid"}
    assert payload_of(whole, asked)["payload"] == {"type": "integer"}
    assert "room" in message_of(whole, asked)["payload"]["required"]
    answered, refused = operation["reply"]["messages"]
    assert payload_of(whole, answered)["type"] == {"const": "result"}
    assert payload_of(whole, answered)["payload"] == {"type": "string"}
    assert payload_of(whole, refused)["type"] == {"const": "error"}


def test_command_of_the_user_has_no_room_and_travels_through_the_connection():
    @command("clear", public=True)
    def clear(request) -> None: ...

    whole = found()
    operation = whole["operations"]["clear"]
    assert operation["channel"] == {"$ref": "#/channels/connection"}
    assert "security" not in operation
    envelope = message_of(whole, operation["messages"][0])["payload"]
    assert list(envelope["properties"]) == ["type", "id", "timestamp"]
    answered = operation["reply"]["messages"][0]
    assert payload_of(whole, answered)["payload"] == {"type": "null"}


def test_push_is_sent_with_its_payload():
    push_type("auction.price", float)
    whole = found()
    operation = whole["operations"]["auction.price"]
    assert operation["action"] == "send"
    assert payload_of(whole, operation["messages"][0])["payload"] == {"type": "number"}


def test_push_and_command_of_one_type_are_told_apart():
    @command("move")
    def move(request, payload: int) -> None: ...

    push_type("move", str)
    whole = found()
    kinds = {
        each["action"]: payload_of(whole, each["messages"][0])["payload"]["type"]
        for each in whole["operations"].values()
        if message_of(whole, each["messages"][0])["name"] == "move"
    }
    assert kinds == {"receive": "integer", "send": "string"}


def test_declared_notification_takes_the_place_of_the_usual_one():
    push_type("notification", int)
    whole = found()
    sent = [
        each["messages"][0]
        for each in whole["operations"].values()
        if message_of(whole, each["messages"][0])["name"] == "notification"
    ]
    assert [payload_of(whole, each)["payload"] for each in sent] == [{"type": "integer"}]


def test_room_with_presence_has_its_messages(configure):
    configure(ROOMS={"support": {"presence": True}, "plain": {}})
    whole = found()
    operations = {name: each for name, each in whole["operations"].items() if "presence" in name}
    assert {name: each["action"] for name, each in operations.items()} == {
        "presence.support": "send",
        "presence.support.ask": "receive",
        "presence.support.state": "receive",
    }
    (sent,) = operations["presence.support"]["messages"]
    payload = payload_of(whole, sent)["payload"]
    assert payload["required"] == ["room", "rev", "prev", "total"]
    assert payload["properties"]["room"] == {"const": "support"}
    member = resolve(whole, payload["properties"]["joined"]["items"])
    assert member["properties"]["info"]["properties"] == {"name": {"type": "string"}}
    answered, refused = operations["presence.support.ask"]["reply"]["messages"]
    assert "me" in payload_of(whole, answered)["payload"]["properties"]
    assert payload_of(whole, refused)["type"] == {"const": "error"}
    (asked,) = operations["presence.support.state"]["messages"]
    assert payload_of(whole, asked)["payload"]["required"] == ["room", "state"]
    done, _ = operations["presence.support.state"]["reply"]["messages"]
    assert payload_of(whole, done)["type"] == {"const": "ack"}
    subscribed = whole["components"]["messages"]["subscribed"]["payload"]["properties"]["payload"]
    assert "presence" in subscribed["properties"]
    assert "presence" not in subscribed["required"]


def test_site_without_presence_has_no_word_of_it(configure):
    configure(ROOMS={"support": {}, "lobby": {"presence": False}})
    assert "presence" not in json.dumps(found())


def test_room_of_every_name_may_have_presence(configure):
    configure(DEFAULT_ROOM={"presence": {"per": "connection"}})
    assert "presence.room.ask" in found()["operations"]


def typed(users) -> dict[int, shop.Person]: ...
def of_some(users) -> Mapping[str, dict[str, int]]: ...
def of_anything(users) -> dict[int, Any]: ...
def untyped(users): ...
def no_dict(users) -> list[int]: ...
def bare(users) -> dict: ...
def unknown(users) -> "dict[int, Missing]": ...  # noqa: F821
def misnamed(users) -> "dict[int, shop.Missing]": ...
def broken(users) -> "dict[int, ": ...  # noqa: F722
def unreadable(users) -> dict[int, complex]: ...
async def asynchronous(users) -> dict[int, shop.Person]: ...


NO_INFO = {"type": "object", "additionalProperties": False}
PERSON = {"anyOf": [{"$ref": "#/components/schemas/Person"}, NO_INFO]}
NUMBERS = {"type": "object", "additionalProperties": {"type": "integer"}}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("typed", PERSON),
        ("asynchronous", PERSON),
        ("of_some", {"anyOf": [NUMBERS, NO_INFO]}),
        *((name, {"type": "object"}) for name in ("of_anything", "untyped", "no_dict", "bare")),
        *((name, {"type": "object"}) for name in ("unknown", "unreadable")),
        *((name, {"type": "object"}) for name in ("misnamed", "broken")),
    ],
)
def test_info_of_members_is_what_its_function_returns(configure, name, expected):
    configure(ROOMS={"support": {"presence": {"info": f"{__name__}.{name}"}}})
    schemas = found()["components"]["schemas"]
    assert schemas["presence.support.member"]["properties"]["info"] == expected
    assert ("Person" in schemas) == (expected is PERSON)


def test_messages_of_a_room_have_its_content(configure):
    configure(ROOMS={"support": {"content": "builtins.int"}})
    whole = found()
    sent = whole["operations"]["message.support"]
    content = payload_of(whole, sent["messages"][0])["payload"]["properties"]
    assert content["content"] == {"type": "integer"}
    assert content["room"] == {"const": "support"}
    asked = whole["operations"]["message.support.send"]
    content = payload_of(whole, asked["messages"][0])["payload"]["properties"]
    assert content["content"] == {"type": "integer"}
    names = [message_of(whole, each)["name"] for each in asked["reply"]["messages"]]
    assert names == ["message", "ack", "error"]


@pytest.mark.parametrize(
    ("options", "is_sent", "needs_login"),
    [
        ({}, True, True),
        ({"publish_role": "anonymous"}, True, False),
        ({"publish_role": "server"}, False, None),
    ],
)
def test_publish_role_says_which_clients_send(configure, options, is_sent, needs_login):
    configure(ROOMS={"news": options})
    operations = found()["operations"]
    assert ("message.news.send" in operations) == is_sent
    if is_sent:
        assert ("security" in operations["message.news.send"]) == needs_login


def test_other_rooms_are_one_channel_unless_there_are_none(configure):
    assert found()["channels"]["room"]["address"] == "{room}"
    configure(DEFAULT_ROOM=None)
    assert "room" not in found()["channels"]


@pytest.mark.parametrize("name", ["a{b}", "a?b#c", "{", "é ü", "日本"])
def test_any_name_of_a_room_has_a_channel(configure, name):
    configure(ROOMS={name: {}}, DEFAULT_ROOM=None)
    ((key, channel),) = [
        (key, each) for key, each in found()["channels"].items() if key != "connection"
    ]
    assert re.fullmatch(r"[\w.-]+", key, re.ASCII)
    assert channel["title"] == name
    assert channel["address"] in (name, None)
    assert channel["address"] is None or not set("{}?#") & set(name)


def test_names_of_the_same_letters_have_keys_of_their_own(configure):
    configure(ROOMS={"a:b": {}, "a/b": {}}, DEFAULT_ROOM=None)
    titles = {key: channel["title"] for key, channel in found()["channels"].items()}
    assert titles == {"connection": "Connection", "a_b": "a:b", "a_b_2": "a/b"}


def test_every_type_and_code_of_the_protocol_is_there():
    whole = found()
    messages = whole["components"]["messages"]
    names = {message["name"] for message in messages.values()}
    assert names == set(MessageType) - {MessageType.RESULT, MessageType.PRESENCE}
    codes = messages["error"]["payload"]["properties"]["payload"]["properties"]["code"]
    assert codes["anyOf"][0]["enum"] == list(ErrorCode)
    for code in CloseCode:
        assert f"| {int(code)} | `{code.name}` |" in whole["info"]["description"]


def test_cookie_of_the_session_is_a_security_scheme(settings):
    settings.SESSION_COOKIE_NAME = "shop-session"
    whole = found()
    (scheme,) = [resolve(whole, each) for each in whole["servers"]["site"]["security"]]
    assert (scheme["type"], scheme["in"]) == ("httpApiKey", "cookie")
    assert scheme["name"] == "shop-session"


def test_connection_is_at_the_path_of_the_settings(configure):
    configure(PATH="ws/live/")
    whole = found()
    assert whole["channels"]["connection"]["address"] == "/ws/live"
    assert whole["servers"]["site"]["host"] == "{host}"
