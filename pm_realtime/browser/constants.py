"""Writes the constants of the browser client from those of the server.

After a change of ``pm_realtime.protocol``, run ``npm run build`` in an environment that has the
package, or this alone: ``python -m pm_realtime.browser.constants``.
"""

import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from pm_realtime.protocol import (
    BATCH_SUBPROTOCOL,
    SUBPROTOCOL,
    CloseCode,
    ErrorCode,
    MessageType,
    may_reconnect,
)

FOLDER: Final = Path(__file__).resolve().parent
#: Every code that a WebSocket may be closed with.
CLOSE_CODES: Final = range(1000, 5000)
HEAD: Final = "// Written by constants.py from pm_realtime.protocol: change that, not this.\n"


def files() -> dict[Path, str]:
    """The generated files, with the text that each should have."""
    return {
        FOLDER / "constants.js": javascript(),
        FOLDER.parent / "static" / "pm_realtime" / "constants.d.ts": declarations(),
    }


def javascript() -> str:
    """The text of constants.js."""
    final = ", ".join(f"[{first}, {last}]" for first, last in final_closes())
    parts = [
        HEAD,
        f"export const SUBPROTOCOL = {json.dumps(SUBPROTOCOL)};\n"
        f"export const BATCH_SUBPROTOCOL = {json.dumps(BATCH_SUBPROTOCOL)};\n",
        _object("MessageType", MessageType),
        _object("ErrorCode", ErrorCode),
        f"export const TEMPORARY_ERRORS = Object.freeze({_names(_temporary())});\n",
        _object("CloseCode", CloseCode),
        f"const FINAL_CLOSES = [{final}];\n",
        "export function mayReconnect(code) {\n"
        "  return !FINAL_CLOSES.some(([first, last]) => first <= code && code <= last);\n"
        "}\n",
    ]
    return "\n".join(parts)


def declarations() -> str:
    """The text of constants.d.ts."""
    parts = [
        HEAD,
        "/** The WebSocket subprotocol that a client may ask for. */\n"
        f"export declare const SUBPROTOCOL: {json.dumps(SUBPROTOCOL)};\n"
        "/** The same, but a frame from the server may also hold an array of envelopes. */\n"
        f"export declare const BATCH_SUBPROTOCOL: {json.dumps(BATCH_SUBPROTOCOL)};\n",
        _type(
            "MessageType",
            "The types the protocol itself defines; a site may push any other.",
            ((member.name, member.value, "") for member in MessageType),
        ),
        _type(
            "ErrorCode",
            "`payload.code` of an `error` envelope.",
            (
                (member.name, member.value, "May succeed later." if member.retry else "")
                for member in ErrorCode
            ),
        ),
        "/** The codes of `ErrorCode` after which the same command may succeed later. */\n"
        f"export declare const TEMPORARY_ERRORS: readonly {_names(_temporary())};\n",
        _type(
            "CloseCode",
            "The codes with which the server closes a connection.",
            (
                (
                    member.name,
                    int(member),
                    "The client reconnects by itself."
                    if may_reconnect(member)
                    else "The client does not reconnect.",
                )
                for member in CloseCode
            ),
        ),
        "/** Says if a client may reconnect by itself after a close that it did not ask for. */\n"
        "export declare function mayReconnect(code: number): boolean;\n",
    ]
    return "\n".join(parts)


def final_closes() -> list[tuple[int, int]]:
    """First and last of each range of codes after which a client does not reconnect."""
    runs = []
    for is_final, codes in groupby(CLOSE_CODES, key=lambda code: not may_reconnect(code)):
        if is_final:
            first, *others = codes
            runs.append((first, others[-1] if others else first))
    return runs


def _temporary() -> list[str]:
    return [member.value for member in ErrorCode if member.retry]


def _names(names: list[str]) -> str:
    return json.dumps(names)


def _object(name: str, members: Iterable[Any]) -> str:
    lines = [f"  {member.name}: {json.dumps(member.value)},\n" for member in members]
    return f"export const {name} = Object.freeze({{\n{''.join(lines)}}});\n"


def _type(name: str, about: str, members: Iterable[tuple[str, str | int, str]]) -> str:
    lines = [
        (f"  /** {remark} */\n" if remark else "") + f"  readonly {member}: {json.dumps(value)};\n"
        for member, value, remark in members
    ]
    return (
        f"/** {about} */\n"
        f"export declare const {name}: {{\n{''.join(lines)}}};\n"
        f"export type {name} = (typeof {name})[keyof typeof {name}];\n"
    )


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
