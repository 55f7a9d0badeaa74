"""One call of one tool: straight to guard with a certificate and a token of one's choice, or through connect with neither."""

import base64
import dataclasses
import http.client
import json
import pathlib
import ssl
import subprocess
import urllib.parse


@dataclasses.dataclass
class Answer:
    status: int
    challenge: str
    message: dict

    @property
    def text(self) -> str | None:
        """What the tool said, if it was called at all."""
        content = self.message.get("result", {}).get("content", [])
        return content[0]["text"] if content else None

    @property
    def denial(self) -> str:
        return self.message.get("error", {}).get("message", "")

    def __str__(self) -> str:
        if self.text is not None:
            return f"{self.status} {self.text!r}"
        return " ".join(part for part in (str(self.status), self.challenge, self.denial) if part)


def call(url: str, tool: str, arguments: dict, identity: pathlib.Path | None = None, token: str | None = None) -> Answer:
    at = urllib.parse.urlsplit(url)
    if at.scheme == "http":
        connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    else:
        tls = ssl.create_default_context(cafile=str(identity / "ca.crt"))
        # Chain and key out of one file, so that both are of one generation.
        tls.load_cert_chain(str((identity / "credential-bundle.pem").resolve()))
        connection = http.client.HTTPSConnection("localhost", at.port, timeout=60, context=tls)
    meta = {"protocolVersion": "2026-07-28", "clientInfo": {"name": "example", "version": "1"}, "clientCapabilities": {}}
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in meta.items()}
    parameters = {"name": tool, "arguments": arguments, "_meta": meta}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters}
    try:
        connection.request("POST", at.path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        return Answer(answer.status, answer.headers.get("WWW-Authenticate", ""), message(text))
    finally:
        connection.close()


def message(text: str) -> dict:
    """The one message of an answer, which may be a stream of events."""
    for line in text.splitlines():
        line = line.removeprefix("data:").strip()
        if line.startswith("{"):
            return json.loads(line)
    return {}


@dataclasses.dataclass
class Token:
    """A token with what it says of itself."""

    value: str

    def _part(self, index: int) -> dict:
        part = self.value.split(".")[index]
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))

    @property
    def kid(self) -> str:
        return self._part(0)["kid"]

    @property
    def claims(self) -> dict:
        return self._part(1)


def ask_for(binary: pathlib.Path, home: pathlib.Path, issuer: str, client: str, agent: str, resource: str, *scopes: str) -> Token:
    command = [binary, "token", "--issuer", issuer, "--client-id", client, "--identity", agent, "--resource", resource]
    command += [word for scope in scopes for word in ("--scope", scope)]
    done = subprocess.run([*command, "--print"], cwd=home, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{client} gets no token:\n{done.stdout}{done.stderr}")
    return Token(done.stdout.strip())
