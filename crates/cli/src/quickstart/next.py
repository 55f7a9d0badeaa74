"""billing-bot, in Python: the official MCP client over mTLS."""

import asyncio
import ssl

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    tls = ssl.create_default_context(cafile=CA_FILE)
    tls.load_cert_chain(CERT_FILE, KEY_FILE)
    async with httpx2.AsyncClient(verify=tls) as http:
        async with Client(streamable_http_client(URL, http_client=http)) as client:
            print("tools:", ", ".join(tool.name for tool in (await client.list_tools()).tools))
            print("balance:", (await client.call_tool("read_balance", {})).structured_content)
            try:
                await client.call_tool("drop_ledger", {})
            except MCPError as denied:
                print("denied:", denied)


asyncio.run(main())
