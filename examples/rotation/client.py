"""The load: two sessions of the official SDK, one of each protocol era, each open from the first call to the last.

Prints one line of JSON: for each session how many calls were made, how many failed, and the first failure.
"""

import argparse
import asyncio
import json
import time

from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

LANES = 2
PAUSE = 0.02
PATIENCE = 10
DENIED_EVERY = 20


class Tally:
    def __init__(self) -> None:
        self.calls = self.denials = self.failures = 0
        self.first = None

    def failed(self, what: object) -> None:
        self.failures += 1
        self.first = self.first or repr(what)


async def permitted(client: Client, tally: Tally) -> None:
    tally.calls += 1
    try:
        result = await asyncio.wait_for(client.call_tool("read_balance", {}), PATIENCE)
        if result.is_error or result.content[0].text != "cash: 42":
            tally.failed(result)
    except Exception as error:  # whatever the SDK raises is a failure
        tally.failed(error)


async def denied(client: Client, tally: Tally) -> None:
    tally.denials += 1
    try:
        tally.failed(await asyncio.wait_for(client.call_tool("drop_ledger", {}), PATIENCE))
    except MCPError as error:
        if "drop_ledger` is not available to `billing-bot`" not in error.error.message:
            tally.failed(error)
    except Exception as error:
        tally.failed(error)


async def lane(client: Client, tally: Tally, until: float) -> None:
    turn = 0
    while time.monotonic() < until:
        turn += 1
        await (denied if turn % DENIED_EVERY == 0 else permitted)(client, tally)
        await asyncio.sleep(PAUSE)


async def session(url: str, mode: str, until: float) -> dict:
    tally = Tally()
    async with Client(streamable_http_client(url), mode=mode) as client:
        await asyncio.gather(*(lane(client, tally, until) for _ in range(LANES)))
        era = str(client.protocol_version)
    return {"era": era, "calls": tally.calls, "denials": tally.denials, "failures": tally.failures, "first": tally.first}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    until = time.monotonic() + given.seconds
    sessions = await asyncio.gather(*(session(given.url, mode, until) for mode in ("legacy", "auto")))
    print(json.dumps(sessions), flush=True)


asyncio.run(main())
