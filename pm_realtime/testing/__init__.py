"""Tools for the tests of a site: a connection of a logged-in user, and a record of pushes.

A connection can break and come back, so that a test sees what a client gets after it.

::

    @pytest.mark.django_db(transaction=True)
    async def test_ticket(ticket, user):
        async with RealtimeCommunicator(user=user) as connection:
            await connection.subscribe(f"ticket:{ticket.pk}")
            await aclose_ticket(ticket)
            await connection.assert_push("closed", payload={"pk": ticket.pk})

            await connection.drop()
            await areopen_ticket(ticket)
            async with connection.recover() as again:
                assert again.recovered
                await again.assert_push("reopened", payload={"pk": ticket.pk})

    def test_view(client, user):
        with capture_pushes() as pushes:
            client.post("/tickets/1/close/")
        assert pushes.to_user(user)[0].type == "closed"
"""

# fmt: off
from pm_realtime.testing.calls import CommandFailed, acall_command_handler, call_command_handler
from pm_realtime.testing.communicator import PATIENCE, RealtimeCommunicator
from pm_realtime.testing.expectations import ANYTHING, RECEIVE_TIMEOUT_SECONDS
from pm_realtime.testing.pictures import SeenPresence
from pm_realtime.testing.pushes import Pushes, capture_pushes
from pm_realtime.testing.sessions import session_cookie
# fmt: on
