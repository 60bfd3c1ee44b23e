"""`manage.py realtime_stats`: the connections, rooms and streams of all processes."""

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from unicodedata import combining, east_asian_width

from pm_realtime.backends import Stats, StreamStats
from pm_realtime.management.base import RealtimeCommand, UnreachableError, shown_on

#: The default of ``--watch``.
WATCH_INTERVAL_SECONDS = 2.0
#: The default of ``--rooms``.
DEFAULT_ROOMS_SHOWN = 20
#: Terminal sequences: to the top left; clear the rest of the line; clear the screen below.
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Counts(NamedTuple):
    """All counts that the command shows."""

    stats: Stats
    streams: StreamStats | None


class Command(RealtimeCommand):
    help = (
        "Shows how many connections and rooms there are, over all processes that share the "
        "settings of this site, and how many messages their streams keep."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--json",
            action="store_true",
            help="one line of JSON: that of get_stats(), with `streams`",
        )
        parser.add_argument(
            "--rooms",
            type=_count,
            default=DEFAULT_ROOMS_SHOWN,
            metavar="N",
            help="rooms in the table, the fullest first (default: %(default)s)",
        )
        parser.add_argument(
            "--watch",
            type=_seconds,
            nargs="?",
            const=WATCH_INTERVAL_SECONDS,
            metavar="SECONDS",
            help=f"repeat until Ctrl-C (every {WATCH_INTERVAL_SECONDS:g} s by default)",
        )

    def handle(
        self, *args: Any, json: bool, rooms: int, watch: float | None, **options: Any
    ) -> None:
        try:
            if watch is None:
                self._show(self._ask(), json, rooms)
            else:
                self._watch(json, rooms, watch)
        except KeyboardInterrupt:
            if watch is None:
                raise
            if self.stdout.isatty():
                # So that the shell's prompt does not stand beside the terminal's ^C.
                self.stdout.write()
        except BrokenPipeError:
            # The reader closed the pipe, as `head` does. Python must not flush to it at exit.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _watch(self, json: bool, rooms: int, interval: float) -> None:
        redraws = not json and self.stdout.isatty() and os.environ.get("TERM") != "dumb"
        last_error = None
        while True:
            try:
                counts = self._ask()
            except UnreachableError as error:
                if last_error != (last_error := str(error)):
                    self.stderr.write(f"{last_error} Trying on, every {interval:g} s.")
            else:
                last_error = None
                if redraws:
                    self._redraw(counts, rooms, interval)
                else:
                    if not json:
                        self.stdout.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')}")
                    self._show(counts, json, rooms)
            time.sleep(interval)

    def _ask(self) -> Counts:
        # First the connections: their errors say more.
        return Counts(self.ask_stats(), self.ask_streams())

    def _show(self, counts: Counts, json: bool, rooms: int) -> None:
        if json:
            streams = counts.streams
            self.write_json({**counts.stats, "streams": streams and _as_json(streams)})
            return
        for line in self._table(counts, rooms):
            self.stdout.write(line)
        self.stdout.flush()

    def _redraw(self, counts: Counts, rooms: int, interval: float) -> None:
        """Overwrite the screen, with no more lines than fit."""
        columns, height = shutil.get_terminal_size()
        head = f"{time.strftime('%H:%M:%S')}, every {interval:g} s. Ctrl-C ends it."
        # Ten other lines: the head, four counts, two gaps, the heading, the number of rooms left
        # out, and one for the cursor.
        lines = [head, "", *self._table(counts, min(rooms, max(0, height - 10)))]
        shown = "".join(f"{_cut(line, columns)}{CLEAR_LINE}\n" for line in lines[: height - 1])
        self.stdout.write(f"{HOME}{shown}{CLEAR_BELOW}", ending="")
        self.stdout.flush()

    def _table(self, counts: Counts, limit: int) -> Iterator[str]:
        stats, streams = counts
        yield f"Connections  {stats['totalConnections']:>9,}"
        yield f"Logged in    {stats['authenticatedConnections']:>9,}"
        yield f"Rooms        {stats['totalRooms']:>9,}"
        if streams is not None:
            yield f"Streams      {streams.streams:>9,}{_describe(streams)}"
        fullest = sorted(stats["roomStats"].items(), key=lambda room: (-room[1], room[0]))
        if fullest and limit:
            yield ""
            yield "CONNECTIONS  ROOM"
            for name, count in fullest[:limit]:
                yield f"{count:>11,}  {shown_on(self.stdout, name)}"
        if left := len(fullest[limit:]):
            yield f"and {left:,} more: --rooms {len(fullest)} shows all"


def _describe(streams: StreamStats) -> str:
    """The messages and bytes of ``streams``, as far as they are known."""
    parts = []
    if streams.messages is not None:
        parts.append(f"{streams.messages:,} messages")
    if streams.size_bytes is not None:
        parts.append(f"{streams.size_bytes:,} bytes")
    if not streams.is_complete:
        parts.append("and more")
    return f"  ({', '.join(parts)})" if parts else ""


def _as_json(streams: StreamStats) -> dict[str, Any]:
    return {
        "total": streams.streams,
        "messages": streams.messages,
        "bytes": streams.size_bytes,
        "isComplete": streams.is_complete,
    }


def _cut(line: str, columns: int) -> str:
    """``line``, cut to the width of the screen."""
    width = 0
    for index, char in enumerate(line):
        width += 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1
        if width > columns:
            return line[: max(0, index - 2)] + "…"
    return line


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (count := int(text)) >= 0:
            return count
    raise argparse.ArgumentTypeError(f"expected a number of rooms, 0 or more, got {text!r}")


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(text)) <= 86400:
            return seconds
    raise argparse.ArgumentTypeError(
        f"expected a number of seconds, above 0 and at most 86400, got {text!r}"
    )
