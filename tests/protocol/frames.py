"""Frames of clients, and strategies that generate them."""

import json

from hypothesis import strategies as st

from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import decode

MAX_BYTES = 65536

ANY_TEXT = st.text(alphabet=st.characters())  # lone surrogates too
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Without lone surrogates, which no payload may have.
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def read(frame, max_bytes=MAX_BYTES):
    return decode(frame, max_bytes=max_bytes)


def attempt(function, *args):
    """The result of ``function`` and its ``CommandError``; one of them is None."""
    try:
        return function(*args), None
    except CommandError as error:
        return None, error


def refusal(frame, max_bytes=MAX_BYTES):
    _, error = attempt(read, frame, max_bytes)
    assert error is not None, "expected a refusal"
    return error


def frame_of(**fields):
    """A valid frame with ``fields`` replaced."""
    return json.dumps({"type": "ping", "timestamp": 1, **fields})


def frame_with_payload(text):
    return f'{{"type":"ping","timestamp":1,"payload":{text}}}'


def frame_of_size(size, filler="x"):
    """A valid frame of exactly ``size`` bytes."""
    missing = size - len(frame_with_payload('""').encode())
    count, rest = divmod(missing, len(filler.encode()))
    frame = frame_with_payload(f'"{filler * count}{"x" * rest}"')
    assert len(frame.encode()) == size
    return frame
