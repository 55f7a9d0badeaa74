"""One session, held open while credentials rotate: calls a tool until it is ended, and says what came back.

A line each: `failed WHY` for a call without a right answer, `calls N` now and then.
"""

import argparse
import asyncio
import json

from mcp import Client, StdioServerParameters


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", required=True)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--arguments", type=json.loads, default={})
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    server = StdioServerParameters(command=given.command[0], args=given.command[1:])
    calls = 0
    async with Client(server, mode=given.mode) as client:
        print(f"era {client.protocol_version}", flush=True)
        while True:
            calls += 1
            try:
                result = await asyncio.wait_for(client.call_tool(given.tool, given.arguments), 10)
                if result.is_error:
                    print(f"failed {result!r}", flush=True)
            except Exception as error:  # whatever the SDK raises is a failure
                print(f"failed {error!r}", flush=True)
            if calls % 20 == 0:
                print(f"calls {calls}", flush=True)
            await asyncio.sleep(0.01)


asyncio.run(main())
