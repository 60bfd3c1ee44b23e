import asyncio
import os
import time
from decimal import Decimal
from typing import Annotated

import msgspec
from django.utils import timezone

from pm_realtime import Command, CommandError, command, push_type, send_to_room
from tests.shop.models import Auction, Bid, Step


class Offer(msgspec.Struct):
    amount: Annotated[Decimal, msgspec.Meta(gt=0)]


class Receipt(msgspec.Struct):
    bid: int
    process: int


class Price(msgspec.Struct):
    price: Decimal


class Numbered(msgspec.Struct):
    sender: str
    number: int


push_type("auction.price", Price)


@command("auction.bid", room="auction:<int:pk>", min_role="user", rate="1000/s")
def bid(request: Command, payload: Offer, pk: int) -> Receipt:
    auction = Auction.objects.select_for_update().get(pk=pk)
    if auction.is_over:
        data = {"endedAt": auction.ended_at}
        raise CommandError("AUCTION_OVER", "The auction is over.", data=data)
    auction.price = payload.amount
    auction.save()
    made = Bid.objects.create(auction=auction, amount=payload.amount)
    send_to_room(request.room, "auction.price", Price(auction.price))
    if payload.amount == 13:
        raise RuntimeError("an unlucky number, which no client learns")
    return Receipt(made.pk, os.getpid())


@command("auction.end", room="auction:<int:pk>", joined=False, min_role="editor")
def end(request: Command, pk: int) -> None:
    Auction.objects.filter(pk=pk).update(is_over=True, ended_at=timezone.now())


@command("bids.count")
async def count(request: Command, payload: int) -> int:
    return await Bid.objects.filter(auction=payload).acount()


@command("step", room="steps:<int:number>", public=True, rate="100000/s", timeout=60)
def step(request: Command, payload: Numbered, number: int) -> int:
    assert request.room is not None
    Step.objects.create(room=request.room, sender=payload.sender, number=payload.number)
    return payload.number * 2


@command("sleep.sync", public=True)
def sleep_in_thread(request: Command, payload: float) -> str:
    time.sleep(payload)
    return "awake"


@command("sleep.async", public=True)
async def sleep_in_loop(request: Command, payload: float) -> str:
    await asyncio.sleep(payload)
    return "awake"


@command("quick.sync", public=True)
def quick(request: Command) -> int:
    return Bid.objects.count()


@command("quick.async", public=True)
async def quick_in_loop(request: Command) -> int:
    return await Bid.objects.acount()
