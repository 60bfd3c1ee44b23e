"""Faults of a chaos run. Each function returns when the broken part is up again."""

import asyncio
import signal

CUT_SECONDS = 8
FROZEN_SECONDS = 6
AWAY_SECONDS = 1.5
#: More than a client's part of the queue and of the buffers on the way.
FLOOD = {"count": 120, "padding": 50_000}


async def kill_server(run, valkey, random):
    server = random.choice(run.servers)
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(AWAY_SECONDS)
    await asyncio.to_thread(server.start)


async def cut_wires(run, valkey, random):
    clients = some(run, random)
    run.network.cut(clients)
    await asyncio.sleep(CUT_SECONDS)
    run.network.heal(clients)


async def leave_wires_half_open(run, valkey, random):
    clients = some(run, random)
    half = len(clients) // 2
    run.network.half_open(clients[:half], is_client_told=True)
    run.network.half_open(clients[half:], is_client_told=False)
    await asyncio.sleep(5)


async def reset_wires(run, valkey, random):
    run.network.abort(some(run, random))


async def kill_valkey(run, valkey, random):
    await asyncio.to_thread(valkey.crash)
    await asyncio.sleep(AWAY_SECONDS)
    await asyncio.to_thread(valkey.restart)


async def freeze_server(run, valkey, random):
    server = random.choice(run.servers)
    server.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(FROZEN_SECONDS)
    server.process.send_signal(signal.SIGCONT)


async def cut_subscriptions(run, valkey, random):
    def cut():
        with valkey.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    await asyncio.to_thread(cut)


async def stall_readers(run, valkey, random):
    """Some clients of a user read nothing while much is pushed to it: they are closed with 4002."""
    role = random.choice(list(run.roles.values()))
    clients = [name for name in run.roles if run.roles[name] == role]
    clients = clients[: (len(clients) + 1) // 2]
    run.network.stall(clients)
    await run.publishers[1].do("burst", stream=f"user:{role}", **FLOOD)
    await asyncio.sleep(1)
    run.network.go_on(clients)


async def restart_all(run, valkey, random):
    for server in run.servers:
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)


def some(run, random):
    """A third of the clients."""
    names = list(run.roles)
    return random.sample(names, max(2, len(names) // 3))


FAULTS = [
    kill_server,
    cut_wires,
    leave_wires_half_open,
    reset_wires,
    kill_valkey,
    freeze_server,
    cut_subscriptions,
    stall_readers,
    restart_all,
]
