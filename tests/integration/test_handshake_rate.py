"""The answer of real servers to a handshake over the rate of its address."""

import pytest
import websockets

from tests.integration.client import connect


@pytest.mark.parametrize(("kind", "status"), [("uvicorn", 429), ("daphne", 403)])
async def test_address_over_its_rate_is_refused_by_http(serve, kind, status):
    server = serve(kind, PROXIES=1, CONNECT_RATE_PER_ADDRESS="2/m")
    headers = {"X-Forwarded-For": "9.9.9.9, 10.1.2.3"}
    for _ in range(2):
        async with connect(server) as client:
            assert (await client.ask("ping"))["type"] == "pong"
        async with websockets.connect(server.ws_url, additional_headers=headers) as socket:
            await socket.recv()
    for forged in ("8.8.8.8", "9.9.9.9"):
        headers = {"X-Forwarded-For": f"{forged}, 10.1.2.3"}
        with pytest.raises(websockets.InvalidStatus) as raised:
            await websockets.connect(server.ws_url, additional_headers=headers)
        assert raised.value.response.status_code == status
        assert ("retry-after" in raised.value.response.headers) is (status == 429)
    async with connect(server) as client:
        assert (await client.ask("ping"))["type"] == "pong"
    assert "ERROR" not in server.log
    assert "Traceback" not in server.log
    assert "Refused 1 handshakes with 429" in server.log
