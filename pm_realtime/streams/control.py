"""Reading the stream of control messages, which every process carries out."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from pm_realtime.backends import get_streams
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import Control, ControlMessage, Refresh, control_group
from pm_realtime.push import CONTROL_STREAM_TTL_SECONDS


class ControlPage(NamedTuple):
    """The control messages that follow a position, as many as a page holds.

    ``end`` is the position of the last one, or that of the stream if ``is_last``.
    """

    controls: Sequence[Control]
    end: str
    is_whole: bool
    is_last: bool


async def read_control(after: str) -> ControlPage:
    """The control messages after the cursor ``after``. Raises ``BackendError``."""
    page = await get_streams().read(control_group(), after, CONTROL_STREAM_TTL_SECONDS)
    controls = []
    for publication in page.publications:
        try:
            control = Control.read(publication.text)
        except (LookupError, TypeError):
            continue  # Of a later version of this package.
        controls.append(msgspec.structs.replace(control, cursor=publication.cursor))
    end = page.top if page.is_last else page.publications[-1].cursor
    return ControlPage(controls, end, page.is_whole, page.is_last)


async def find_control(
    since: str, until: str, targets: Collection[str] | None = None
) -> list[ControlMessage]:
    """The control messages after ``since``, up to ``until``, for ``targets`` or for all.

    A refresh stands for those that are not known.
    """
    found: list[ControlMessage] = []
    while since < until:
        try:
            page = await read_control(since)
        except BackendError:
            return [*found, Refresh()]
        if not page.is_whole:
            found.append(Refresh())
        for control in page.controls:
            is_early = (control.cursor or "") <= until
            if is_early and (targets is None or control.target in targets):
                found.append(control.message)
        since = until if page.is_last else page.end
    return found
