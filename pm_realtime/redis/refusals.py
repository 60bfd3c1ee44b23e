"""Answers of a server that refuses a user or a command: they last until an operator acts."""

import re
from typing import Final

#: The answers of servers, in the versions of Redis and Valkey, and in scripts.
_TEXTS: Final = {
    "NOPERM": r"\bno permissions to|ACL failure in script|user executing the script can't",
    "NOAUTH": r"\bAuthentication required|HELLO must be called with the client already auth"
    r"|unauthenticated (multi)?bulk",
    "WRONGPASS": r"invalid username-password pair|\binvalid password|without any password conf",
}
_HINTS: Final = {
    "NOPERM": "Add it to the ACL of this user; docs/deployment.md has one that suffices",
    "NOAUTH": "Write user and password into the address, as in redis://user:password@host:6379/0",
    "WRONGPASS": "Check user and password in the address",
}


def describe(error: object, script: str = "") -> str:
    """The text of ``error``; for a refusal with its code, and with what an operator can do.

    ``script`` is the one that failed, if any: Redis 7.0 tells only its line.
    """
    text = str(error).rstrip(".")
    if refusal_in(text):
        return text
    for code, pattern in _TEXTS.items():
        if re.search(pattern, text, re.IGNORECASE):
            return f"{code}: {text}{_command_at(text, script)}. {_HINTS[code]}"
    return text


def _command_at(text: str, script: str) -> str:
    """The command in the line of ``script`` that ``text`` names, in parentheses."""
    number = re.search(r"user_script:(\d+)", text)
    line = script.splitlines()[int(number[1]) - 1 :][:1] if number else []
    command = re.search(r"redis\.p?call\('(\w+)'", "".join(line))
    return f" ({command[1]})" if command else ""


def refusal_in(text: str) -> str:
    """The part of ``text`` that :func:`describe` returned for a refusal; empty if there is none."""
    found = re.search(rf"\b({'|'.join(_HINTS)}): .*", text, re.DOTALL)
    return found[0] if found else ""
