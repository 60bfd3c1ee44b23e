"""Pages of many users that come, go, crash and are loaded anew at random."""

import asyncio
import contextlib
import signal
import time
from collections import Counter, defaultdict

import websockets

from tests.integration.presence.truth import BURIAL_SECONDS, NOTICE_SECONDS, TOLD_SECONDS

#: For how long a page is left alone between two actions.
PAUSE_SECONDS = (0.5, 4)
#: In which a page returns that was lost, even if its server is away.
RETURN_TIMEOUT_SECONDS = 30
#: In which a heartbeat finds a wire that carries nothing.
HEARTBEAT_SECONDS = 8
#: The part of pages that are gone with the process to which they were connected.
MORTAL_SHARE = 0.3
#: Raised by an act of a page that has lost its connection meanwhile.
GONE = (TimeoutError, websockets.ConnectionClosed, AttributeError)


class Churn:
    """``grace`` is the longest one of all rooms. Each user has ``pages`` slots at most.

    Each page is left alone for ``pause`` (seconds, the least and the most) between two actions. If
    it ``goes``, or leaves a room, it mostly stays away until all have forgotten it.
    """

    def __init__(
        self, run, random, users, *, grace, pages=4, visitors=2, goes=True, pause=PAUSE_SECONDS
    ):
        self._run, self._random, self._grace, self._goes = run, random, grace, goes
        self._pause = pause
        users = [user for user in users for _ in range(random.randint(1, pages))]
        #: Each with its user, and the page that is in it.
        self._slots = [(user, None) for user in [*users, *([None] * visitors)]]
        #: One page of a user acts at a time, as the order of acts decides about a departure.
        self._locks = defaultdict(asyncio.Lock)
        self._is_over = False
        #: Whether pages may unsubscribe.
        self._may_step_out = True
        self.acts = Counter()
        #: Members whose arrival or departure may be known to a process alone that was killed.
        self.may_lack = set()

    async def start(self):
        self._is_over = False
        self._tasks = [asyncio.create_task(self._stay(*slot)) for slot in self._slots]

    async def stop(self):
        """Return once all pages have done what they had begun, and all slots are taken."""
        self._is_over = True
        self._slots = await asyncio.gather(*self._tasks)

    async def _stay(self, user, page):
        acts = {self._reload: 4, self._drop: 4, self._step_out: 2, self._say: 3}
        if self._goes:
            acts |= {self._go: 2, self._crash: 2}
        await asyncio.sleep(self._random.uniform(0, 1))
        page = page or await self._run.open(user)
        while not self._is_over or not page.is_settled:
            await asyncio.sleep(self._random.uniform(*self._pause))
            if not page.returns:  # It is gone with its process.
                await page.crash()
                page = await self._come_later(page)
                continue
            await self._until_settled(page)
            if self._is_over:
                continue
            [act] = self._random.choices([*acts], acts.values())
            self.acts[act.__name__] += 1
            page = await act(page) or page
        return user, page

    async def _until_settled(self, page):
        async with asyncio.timeout(RETURN_TIMEOUT_SECONDS):
            while not page.is_settled and page.returns:
                await asyncio.sleep(0.05)

    async def _reload(self, page):
        async with self._locks[page.user]:
            await page.close(1001)
        await asyncio.sleep(self._random.uniform(0, 0.3 * self._grace))
        return await self._run.open(page.user)

    async def _drop(self, page):
        async with self._locks[page.user]:
            page.drop()
        await self._until_settled(page)

    async def _go(self, page):
        async with self._locks[page.user]:
            await page.close()
        return await self._come_later(page)

    async def _crash(self, page):
        async with self._locks[page.user]:
            await page.crash()
        return await self._come_later(page)

    async def _come_later(self, page):
        """Come when all have surely forgotten ``page``."""
        away = page.notice_seconds + self._grace + TOLD_SECONDS
        await asyncio.sleep(away + self._random.uniform(0.5, 2))
        return await self._run.open(page.user)

    async def _step_out(self, page):
        room = self._random.choice(sorted(page.joined))
        member = room, page.keys.get(room)
        async with self._locks[page.user]:
            if not (self._may_step_out and page.is_settled and self._run.truth.is_calm(member)):
                return
            await page.leave(room)
        is_long = self._goes and self._random.random() < 0.7
        away = TOLD_SECONDS + 1 if is_long else 0.1
        await asyncio.sleep(self._random.uniform(away, 2 * away))
        await self._until_settled(page)
        if page.is_settled:
            with contextlib.suppress(*GONE):
                await page.join(room)

    async def _say(self, page):
        """Set the state of the member in each room."""
        for room, key in list(page.keys.items()):
            async with self._locks[page.user]:
                state, is_known = {"text": self._random.randrange(100)}, False
                with contextlib.suppress(*GONE):
                    is_known = await page.set_state(room, state)
                self._run.truth.say((room, key), state, is_known=is_known)

    async def kill(self, server, away_seconds=2):
        """Kill the process, and start another one in its place."""
        run = self._run
        self._may_step_out = False
        await asyncio.sleep(NOTICE_SECONDS)
        pages = self._expect_loss(server)
        at = time.time()
        await asyncio.to_thread(server.kill)
        self._bury(server, at)
        self.may_lack |= run.truth.in_doubt(at)
        self._may_step_out = True
        await asyncio.sleep(away_seconds)
        await asyncio.to_thread(server.start)
        return pages

    async def stop_process(self, server):
        """Stop the process as for a new version, and start another one in its place."""
        others = [each.port for each in self._run.servers if each is not server]
        self._run.network.ports = others
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        self._run.network.ports = [each.port for each in self._run.servers]

    async def stall(self, share=0.2, seconds=5):
        """Some pages read nothing for a time."""
        names = [page.name for page in self._run.settled if self._random.random() < share]
        self._run.network.stall(names)
        await asyncio.sleep(seconds)
        self._run.network.go_on(names)

    async def freeze(self, server, seconds):
        """Nothing of the process goes on for ``seconds``. New pages come to the others."""
        run = self._run
        self._may_step_out = False
        await asyncio.sleep(NOTICE_SECONDS)
        pages = self._expect_loss(server)
        run.network.ports = [each.port for each in run.servers if each is not server]
        at = time.time()
        server.process.send_signal(signal.SIGSTOP)
        self._bury(server, at)
        await asyncio.sleep(HEARTBEAT_SECONDS)
        self._may_step_out = True
        await asyncio.sleep(seconds - HEARTBEAT_SECONDS)
        server.process.send_signal(signal.SIGCONT)
        run.network.ports = [each.port for each in run.servers]
        return pages

    def _bury(self, server, at):
        pages = {page for page in self._run.pages if page.port == server.port}
        self._run.truth.bury(pages, at, at - NOTICE_SECONDS)

    def _expect_loss(self, server):
        """The pages of ``server``, some of which do not come back."""
        pages = self._run.pages_of(server)
        for page in pages:
            page.notice_seconds = BURIAL_SECONDS
            if self._random.random() < MORTAL_SHARE:
                page.returns = False
        return pages

    async def cut(self, share=0.1):
        """The wires of some pages carry nothing any more, and no server is told."""
        pages = [page for page in self._run.settled if self._random.random() < share]
        for page in pages:
            page.notice_seconds = HEARTBEAT_SECONDS
        self._run.network.half_open([page.name for page in pages], is_client_told=True)
