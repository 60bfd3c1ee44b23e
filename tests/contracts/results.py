"""The tests of the contract in ``pm_realtime/backends/results.py``, for every store.

A test class of a store inherits from :class:`ResultsContract` and has the fixtures ``results`` (a
fresh store), ``others`` (the same store in another process, or ``results`` if it has only one) and
``pass_time`` (an async function of seconds).
"""

import asyncio
import json

import pytest

from pm_realtime.backends.results import Claim, ClaimState, Results

TTL_SECONDS = 60
SHORT_SECONDS = 0.2
TAKEN, RUNNING = Claim(ClaimState.TAKEN), Claim(ClaimState.RUNNING)


def done(result):
    return Claim(ClaimState.DONE, result)


class ResultsContract:
    def test_is_a_store(self, results):
        assert isinstance(results, Results)

    # --- one owner

    async def test_first_takes_and_the_others_see_it_running(self, results, others):
        assert await results.claim("key", "first", TTL_SECONDS) == TAKEN
        assert await results.claim("key", "second", TTL_SECONDS) == RUNNING
        assert await others.claim("key", "third", TTL_SECONDS) == RUNNING

    async def test_same_owner_may_claim_again(self, results, others):
        for _ in range(3):
            assert await results.claim("key", "first", TTL_SECONDS) == TAKEN
        assert await others.claim("key", "second", TTL_SECONDS) == RUNNING

    async def test_of_many_at_once_one_takes(self, results, others):
        claims = await asyncio.gather(
            *(results.claim("key", f"here {number}", TTL_SECONDS) for number in range(25)),
            *(others.claim("key", f"there {number}", TTL_SECONDS) for number in range(25)),
        )
        assert claims.count(TAKEN) == 1
        assert claims.count(RUNNING) == 49

    async def test_keys_are_independent(self, results):
        for key in ("a", "b", "é:*?[", "x" * 300):
            assert await results.claim(key, "owner", TTL_SECONDS) == TAKEN
        await results.keep("a", "owner", "1", TTL_SECONDS)
        await results.release("b", "owner")
        assert await results.claim("a", "other", TTL_SECONDS) == done("1")
        assert await results.claim("b", "other", TTL_SECONDS) == TAKEN
        assert await results.claim("é:*?[", "other", TTL_SECONDS) == RUNNING

    # --- the result

    @pytest.mark.parametrize(
        "value", [None, 1, "", "r", "d", "ü \u2028 😀 \x00", {"a": [1.5]}, "x" * 300_000]
    )
    async def test_result_comes_back_as_it_was_kept(self, results, others, value):
        result = json.dumps(value, ensure_ascii=False)
        await results.claim("key", "first", TTL_SECONDS)
        await results.keep("key", "first", result, TTL_SECONDS)
        for store in (results, others):
            assert await store.claim("key", "second", TTL_SECONDS) == done(result)
        assert await results.claim("key", "first", TTL_SECONDS) == done(result)

    async def test_result_stays_whatever_comes_later(self, results, others):
        await results.claim("key", "first", TTL_SECONDS)
        await results.keep("key", "first", "1", TTL_SECONDS)
        for store in (results, others):
            await store.keep("key", "first", "2", TTL_SECONDS)
            await store.keep("key", "second", "3", TTL_SECONDS)
            await store.release("key", "first")
            await store.release("key", "second")
        assert await others.claim("key", "third", TTL_SECONDS) == done("1")

    async def test_result_is_forgotten_after_its_time(self, results, others, pass_time):
        await results.claim("key", "first", TTL_SECONDS)
        await results.keep("key", "first", "1", SHORT_SECONDS)
        assert await others.claim("key", "second", TTL_SECONDS) == done("1")
        await pass_time(SHORT_SECONDS + 0.1)
        assert await others.claim("key", "second", TTL_SECONDS) == TAKEN

    async def test_claim_ends_after_its_time(self, results, others, pass_time):
        assert await results.claim("key", "first", SHORT_SECONDS) == TAKEN
        await pass_time(SHORT_SECONDS + 0.1)
        assert await others.claim("key", "second", TTL_SECONDS) == TAKEN

    # --- refusals, and owners that are too late

    async def test_released_key_is_free(self, results, others):
        await results.claim("key", "first", TTL_SECONDS)
        await results.release("key", "first")
        assert await others.claim("key", "second", TTL_SECONDS) == TAKEN
        assert await results.claim("key", "first", TTL_SECONDS) == RUNNING

    async def test_another_can_neither_release_nor_keep(self, results, others):
        await results.claim("key", "first", TTL_SECONDS)
        for store in (results, others):
            await store.release("key", "second")
            await store.keep("key", "second", "2", TTL_SECONDS)
        assert await others.claim("key", "third", TTL_SECONDS) == RUNNING
        await results.keep("key", "first", "1", TTL_SECONDS)
        assert await others.claim("key", "third", TTL_SECONDS) == done("1")

    async def test_late_owner_changes_nothing_of_the_next(self, results, others, pass_time):
        await results.claim("key", "late", SHORT_SECONDS)
        await pass_time(SHORT_SECONDS + 0.1)
        assert await others.claim("key", "next", TTL_SECONDS) == TAKEN
        await results.keep("key", "late", "late", TTL_SECONDS)
        await results.release("key", "late")
        assert await others.claim("key", "third", TTL_SECONDS) == RUNNING
        await others.keep("key", "next", "next", TTL_SECONDS)
        assert await results.claim("key", "late", TTL_SECONDS) == done("next")

    async def test_late_owner_keeps_its_result_if_nobody_else_has_the_key(
        self, results, others, pass_time
    ):
        await results.claim("key", "late", SHORT_SECONDS)
        await pass_time(SHORT_SECONDS + 0.1)
        await results.keep("key", "late", "1", TTL_SECONDS)
        assert await others.claim("key", "next", TTL_SECONDS) == done("1")

    async def test_forget_all(self, results, others):
        for key in ("running", "done"):
            await results.claim(key, "owner", TTL_SECONDS)
        await results.keep("done", "owner", "1", TTL_SECONDS)
        await results.forget_all()
        for key in ("running", "done"):
            assert await others.claim(key, "other", TTL_SECONDS) == TAKEN
