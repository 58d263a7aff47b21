"""Drives the official Python client: a line of JSON on stdin for each call, and one on stdout for each answer."""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

import mcp
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

url, redirect_uri = sys.argv[1:3]


class Storage:
    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


def say(**message):
    print(json.dumps(message), flush=True)


async def line():
    return json.loads(await asyncio.to_thread(sys.stdin.readline) or "null")


async def redirect(to):
    say(authorize=str(to))


async def callback():
    answer = {name: values[0] for name, values in parse_qs(urlsplit((await line())["redirected"]).query).items()}
    return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer.get("iss"))


async def main():
    storage = Storage()
    metadata = OAuthClientMetadata(
        client_name="A Python application",
        redirect_uris=[redirect_uri],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    provider = OAuthClientProvider(url, metadata, storage, redirect_handler=redirect, callback_handler=callback)
    async with create_mcp_http_client(auth=provider) as http:
        async with mcp.Client(streamable_http_client(url, http_client=http)) as client:
            say(connected=True, client=storage.client.client_id)
            while call := await line():
                try:
                    result = await client.call_tool(call["tool"], call.get("arguments", {}))
                    say(answer=result.structured_content, error=result.is_error, scope=storage.tokens.scope)
                except Exception as error:
                    say(failed=f"{type(error).__name__}: {error}")


asyncio.run(main())
