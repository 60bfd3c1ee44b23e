"""The texts of refusals, as servers of several versions write them."""

import pytest

from pm_realtime.redis import describe, refusal_in

SCRIPT = "local a = 1\nredis.call('HSET', KEYS[1], 'a', a)\n"


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("User realtime has no permissions to run the 'set' command", "NOPERM", "'set'"),
        ("this user has no permissions to run the 'config|get' command or its", "NOPERM", "get"),
        ("this user has no permissions to access one of the channels", "NOPERM", "channels"),
        ("No permissions to access a key", "NOPERM", "key"),
        ("ACL failure in script: User x has no permissions to run the 'set'", "NOPERM", "'set'"),
        (
            "The user executing the script can't run this command or subcommand script: 1b, on "
            "@user_script:2.",
            "NOPERM",
            "(HSET)",
        ),
        ("Authentication required.", "NOAUTH", "password"),
        ("HELLO must be called with the client already authenticated", "NOAUTH", "password"),
        ("invalid username-password pair or user is disabled.", "WRONGPASS", "password"),
        ("AUTH <password> called without any password configured", "WRONGPASS", "password"),
    ],
)
def test_refusal_has_its_code_and_a_hint(text, code, named):
    found = describe(Exception(text), SCRIPT)
    assert found.startswith(f"{code}: {text.rstrip('.')}")
    assert named in found
    assert describe(found) == found
    assert refusal_in(f"Redis at one:6379: {found}") == found


@pytest.mark.parametrize(
    "text",
    ["Connection refused", "no answer within 1.5 s", "OOM command not allowed", "", "NOPE: x"],
)
def test_other_texts_stay_as_they_are(text):
    assert describe(Exception(text), SCRIPT) == text
    assert refusal_in(text) == ""
