"""Checks of the commands that a site declares, and of the types of pushes."""

from functools import partial

import msgspec
import pytest
from django.urls import register_converter
from django.urls.converters import StringConverter

from pm_realtime import Command, command, push_type
from tests.checks.messages import BAD_PATHS, only

pytestmark = pytest.mark.usefixtures("declarations")


class Price(msgspec.Struct):
    amount: int


class Unreadable(msgspec.Struct):
    number: complex


def nothing(request: Command) -> None: ...


def declare(function=nothing, type="auction.bid", **options):
    command(type, **options)(function)


def test_right_declarations_have_no_message(check):
    def bid(request, payload: Price, pk: int) -> Price: ...

    class Handler:
        def __call__(self, request: Command, payload: Price) -> None: ...

    async def asynchronous(request, *, pk, payload: list[Price] | None = None): ...

    declare(bid, room="auction:<int:pk>", min_role="user", rate="10/s", timeout=0.5)
    declare(bid, "b", room="auction:<int:pk>", joined=False, public=True, atomic="default")
    declare(Handler(), "c", room="auction", atomic=False)
    declare(asynchronous, "d", room="auction:<int:pk>")
    declare(lambda request, **values: None, "e", room="<slug:one>:<path:two>")
    declare(partial(bid, pk=5), "f")
    declare(lambda request, /, payload=None, more=1: None, "ğ.☃")
    push_type("auction.price", Price)
    push_type("notification", dict[str, str])
    assert check() == []


def test_e029_two_commands_of_one_type(check):
    declare()
    declare(lambda request: 1)
    message = only(check(), "E029")
    where = "tests.checks.test_declarations"
    name = "test_e029_two_commands_of_one_type.<locals>.<lambda>"
    assert message.msg == (
        f"@command('auction.bid') {where}.{name}: {where}.nothing is the command of that name "
        "already."
    )


@pytest.mark.parametrize(
    ("type", "problem"),
    [
        ("message", "'message' is a command of this package."),
        ("ping", "'ping' is a command of this package."),
        ("subscribe", "'subscribe' is a command of this package."),
        ("result", "'result' belongs to the protocol and its clients."),
        ("presence", "'presence' belongs to the protocol and its clients."),
        (":status", "':status' belongs to the protocol and its clients."),
        ("*", "'*' belongs to the protocol and its clients."),
        ("", "got ''."),
        ("a" * 101, f"got '{'a' * 101}'."),
        ("a\nb", "got 'a\\nb'."),
        (None, "got None."),
        (["a"], "got ['a']."),
    ],
)
def test_e030_type_is_none_for_a_command(check, type, problem):
    declare(type=type)
    assert only(check(), "E030").msg.endswith(problem)


def test_e030_no_brackets(check):
    @command
    def bid(request): ...

    assert bid.__name__ == "bid"
    message = only(check(), "E030")
    assert message.msg.endswith("test_e030_no_brackets.<locals>.bid: it has no type.")
    assert message.hint == "Write @command('auction.bid'), with a type."


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda: 1, "expected a first parameter for the request."),
        (lambda *, request, pk: 1, "expected a first parameter for the request."),
        (lambda request: 1, "it takes no `pk`, which is a value of the route."),
        (lambda pk: 1, "the first parameter, `pk`, is the request, and nothing else."),
        (lambda payload, pk: 1, "the first parameter, `payload`, is the request, and nothing"),
        (lambda request, pk, more: 1, "its parameter `more` is neither `payload` nor a value"),
        (lambda request, data, **values: 1, "its parameter `data` is neither `payload` nor"),
        (lambda request, pk, /: 1, "its `pk` cannot be passed by name."),
        (lambda request, payload, /, pk: 1, "its `payload` cannot be passed by name."),
        (5, "expected a function, got 5"),
        (Price, "expected a function, got the class Price."),
    ],
)
def test_e031_signature_does_not_fit(check, function, problem):
    declare(function, room="auction:<int:pk>")
    assert problem in only(check(), "E031").msg


def test_e031_value_of_the_route_has_another_type(check):
    def bid(request, pk: str): ...

    declare(bid, room="auction:<int:pk>")
    declare(bid, "own", room="auction:<own:pk>")
    message = only(check(), "E031")
    assert message.msg.endswith("its `pk` is of str, but the route gives int.")


class Own(StringConverter):
    pass


register_converter(Own, "own")


def test_e031_value_of_the_route_is_named_payload(check):
    declare(lambda request, payload: 1, room="a:<int:payload>")
    assert "a value of the route is named `payload`" in only(check(), "E031").msg


def test_e031_generator(check):
    def bid(request):
        yield 1

    declare(bid)
    assert "a generator gives no answer" in only(check(), "E031").msg


def test_e032_types_cannot_be_read(check):
    def bid(request, payload: Unreadable) -> "Missing": ...  # noqa: F821

    declare(bid)
    push_type("auction.price", Unreadable)
    settings = {"ROOMS": {"a": {"content": f"{__name__}.Unreadable"}}}
    found = check(settings)
    assert [id for id, _ in found] == ["E032"] * 4
    texts = sorted(message.msg.partition(": ")[2] for _, message in found)
    assert texts == [
        "the type of the payload cannot be read: builtins.complex is no type of values of JSON.",
        "the type of the payload cannot be read: builtins.complex is no type of values of JSON.",
        "the type of the result cannot be read: name 'Missing' is not defined.",
        f"the type {__name__}.Unreadable cannot be read: builtins.complex is no type of values "
        "of JSON.",
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"min_role": "boss"},
            "min_role: expected one of user, editor, admin, master, got 'boss'.",
        ),
        ({"min_role": 5}, "min_role: expected one of user, editor, admin, master, got 5."),
        ({"rate": "10"}, "rate: expected a count of at least 1, a slash and s, m, h or d"),
        ({"rate": 10}, "rate: expected a count of at least 1, a slash and s, m, h or d"),
        ({"timeout": 0}, "timeout: expected a number of seconds above 0, got 0."),
        ({"timeout": True}, "timeout: expected a number of seconds above 0, got True."),
        ({"timeout": None}, "timeout: expected a number of seconds above 0, got None."),
        ({"timeout": float("nan")}, "timeout: expected a number of seconds above 0, got nan."),
        (
            {"room": "<no:pk>"},
            "room: the route does not parse: URL route '<no:pk>' uses invalid converter 'no'.",
        ),
        ({"room": "a:<int:pk"}, "room: the route does not parse: "),
        ({"room": ""}, "room: got ''. Expected the name of a room: 1 to 200 characters"),
        ({"room": 5}, "room: expected the name of a room or a route, got 5."),
        ({"joined": 1}, "joined: expected True or False, got 1."),
        ({"public": "yes"}, "public: expected True or False, got 'yes'."),
        ({"atomic": "nope"}, "atomic: expected the alias of a database (default), got 'nope'."),
        ({"atomic": 1}, "atomic: expected True, False or the alias of a database, got 1."),
    ],
)
def test_e033_invalid_option(check, options, problem):
    declare(**options)
    assert problem in only(check(), "E033").msg


@pytest.mark.parametrize("room", ["a:<no:pk>", "a:<int:pk", 5])
def test_e033_room_that_cannot_be_read_is_the_only_error(check, room):
    """The parameters are the values of the route that was meant."""

    def bid(request, pk): ...

    declare(bid, room=room)
    assert "room: " in only(check(), "E033").msg


@pytest.mark.parametrize("atomic", [True, "default"])
def test_e033_transaction_of_an_async_function(check, atomic):
    async def bid(request): ...

    declare(bid, atomic=atomic)
    problem = f"atomic={atomic!r} has no effect: Django has no transactions for async functions."
    assert only(check(), "E033").msg.endswith(problem)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"joined": False}, "joined=False has no effect without a room."),
        ({"public": True, "min_role": "user"}, "it is public and has a min_role: "),
    ],
)
def test_w036_options_contradict_each_other(check, options, problem):
    declare(**options)
    assert problem in only(check(), "W036").msg


def test_role_is_not_checked_if_roles_are_invalid(check):
    declare(min_role="user")
    assert [id for id, _ in check({"ROLES": 5})] == ["E003"]


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("option", ["content", "on_message"])
def test_e034_dotted_path_does_not_import(check, path, option):
    message = only(check({"ROOMS": {"a": {option: path}}}), "E034")
    assert message.msg.startswith(f"PM_REALTIME[\"ROOMS\"]['a'][{option!r}]: expected a dotted")
    assert repr(path) in message.msg


@pytest.mark.parametrize("name", ["a", "a:<int:pk>"])
def test_e034_on_message_does_not_take_its_arguments(check, name):
    path = f"{__name__}.nothing"
    message = only(check({"ROOMS": {name: {"on_message": path}}}), "E034")
    assert f"{path} cannot be called (too many positional arguments)" in message.msg
    for right in ("saves", "saves_any"):
        assert check({"ROOMS": {"a:<int:pk>": {"on_message": f"{__name__}.{right}"}}}) == []


def saves(request, content, pk): ...


async def saves_any(request, content, **values): ...


def test_e034_on_message_is_not_callable(check):
    message = only(check({"DEFAULT_ROOM": {"on_message": "tests.site.rules.calls"}}), "E034")
    assert "expected something callable" in message.msg


def test_e035_two_push_types_of_one_name(check):
    push_type("auction.price", Price)
    push_type("auction.price", int)
    message = only(check(), "E035")
    assert message.msg == (
        f"push_type('auction.price', …) in {__name__}: {__name__} has declared a type of that "
        "name already."
    )


@pytest.mark.parametrize("type", ["result", "pong", "presence", ":gap", "*", "message", "", 5])
def test_e035_name_of_a_push_type(check, type):
    push_type(type, Price)
    assert only(check(), "E035").msg.startswith(f"push_type({type!r}, …) in {__name__}: ")


def test_all_mistakes_are_found_at_once(check):
    declare(lambda: 1, "ping", rate="5", min_role="boss", room="a:<int:pk>", atomic="nope")
    declare(nothing, "ping", timeout=-1)
    found = sorted(id for id, _ in check())
    assert found == ["E029", "E030", "E030", "E031", "E033", "E033", "E033", "E033"]
