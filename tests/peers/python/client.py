"""Lists the tools, calls one that answers and one that is denied, and prints what came back as one line of JSON."""

import argparse
import asyncio
import contextlib
import json
import ssl

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


def told(error: Exception) -> dict:
    """What the SDK hands its caller."""
    if isinstance(error, MCPError):
        return {"code": error.error.code, "message": error.error.message}
    return {"message": repr(error)}


async def call(client: Client, tool: str, arguments: dict) -> dict:
    try:
        result = await client.call_tool(tool, arguments)
    except Exception as error:  # whatever the SDK raises is what is reported
        return told(error)
    return {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}


def http(folder: str | None) -> httpx2.AsyncClient:
    """A client that presents a certificate and trusts one authority alone."""
    if folder is None:
        return httpx2.AsyncClient()
    trust = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    trust.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
    return httpx2.AsyncClient(verify=trust)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url")
    parser.add_argument("--identity")
    parser.add_argument("--allow", required=True)
    parser.add_argument("--arguments", type=json.loads, default={})
    parser.add_argument("--deny", required=True)
    parser.add_argument("command", nargs="*")
    given = parser.parse_args()

    async with contextlib.AsyncExitStack() as stack:
        if given.command:
            server = StdioServerParameters(command=given.command[0], args=given.command[1:])
        else:
            client = await stack.enter_async_context(http(given.identity))
            server = streamable_http_client(given.url, http_client=client)
        client = await stack.enter_async_context(Client(server))
        tools = await client.list_tools()
        report = {
            "era": str(client.protocol_version),
            "tools": [tool.name for tool in tools.tools],
            "allowed": await call(client, given.allow, given.arguments),
            "denied": await call(client, given.deny, {}),
        }
        print(json.dumps(report))


asyncio.run(main())
