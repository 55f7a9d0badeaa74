"""The estate: an authority, Keycloak, a ledger behind two guards, and two agents behind connect."""

import json
import pathlib
import socket
import subprocess
import time

from calls import Token, ask_for
from needs import ROOT
from parts import Part
from sso import Keycloak

DOMAIN = "agents.internal"
INTROSPECTED = 3  # seconds that Keycloak's word on a token holds

POLICY = f"""version = 1
trust_domain = "{DOMAIN}"

[[grant]]
who = ["billing-bot", "intern-bot"]
servers = ["ledger"]
tools = ["read_balance"]
scopes = ["ledger.read"]

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["post_entry"]
scopes = ["ledger.read", "ledger.write"]
roles = ["accountant"]

[[grant]]
who = ["billing-bot", "intern-bot"]
servers = ["ledger"]
tools = ["close_books"]
scopes = ["ledger.read"]
roles = ["closer"]
"""

TOKENS = """version = 1
tokens = "required"
audience = "{audience}"

[[issuer]]
issuer = "{issuer}"
profile = "keycloak"
roles = ["realm_access.roles", "resource_access.ledger.roles"]
{introspection}
[[client]]
client_id = "billing"
agent = "billing-bot"

[[client]]
client_id = "intern"
agent = "intern-bot"
"""

ASKS = f'introspection = {{ client_id = "guard-ledger", every_token = true, cache_seconds = {INTROSPECTED} }}\n'


class Estate:
    def __init__(self, home: pathlib.Path, binary: pathlib.Path, python: str, keycloak: pathlib.Path):
        self.home, self.binary, self.python = home, binary, python
        self.parts: list[Part] = []
        self.tokens: list[Token] = []
        self.verb("ca", "init", "--trust-domain", DOMAIN, "--plaintext-key", "--dir", "ca")
        for server in ("sso", "ledger"):
            self.mint("server", server, "--dns", "localhost")
        for agent in ("billing-bot", "intern-bot"):
            self.mint("agent", agent)
        (home / "policy.toml").write_text(POLICY)
        # Keycloak's tokens name guard, and guard asks Keycloak: both must know where the other one will be.
        port = free_port()
        self.resource = f"https://localhost:{port}/mcp"
        self.sso = Keycloak(home, keycloak, free_port(), self.resource)
        self.parts.append(self.sso.part)
        server = self.part("server", python, ROOT / "tests/peers/python/server.py")
        self.server = server.start(r"(http://127\.0\.0\.1:\d+/mcp)")
        self.port = port

    def start(self) -> None:
        """What needs Keycloak."""
        self.guard = self.start_guard("guard", self.port, ASKS)
        self.trusting = self.start_guard("trusting-guard", 0, "")
        self.since = time.monotonic()
        # This one is told its authorization server; the other one learns it from guard (RFC 9728).
        self.billing = self.start_connect("billing", "--issuer", self.sso.issuer)
        self.intern = self.start_connect("intern")

    def start_guard(self, name: str, port: int, introspection: str) -> str:
        text = TOKENS.format(audience=self.resource, issuer=self.sso.issuer, introspection=introspection)
        (self.home / f"{name}.toml").write_text(text)
        files = ["--identity", "ledger", "--policy", "policy.toml", "--tokens", f"{name}.toml", "--audit", f"{name}.jsonl"]
        listen = ["--listen", f"127.0.0.1:{port}", "--state", f"{name}.state"]
        guard = self.part(name, self.binary, "guard", *listen, "--upstream", self.server, *files)
        port = guard.start(r'guard serves.*?https://[^\s":]+:(\d+)')
        return f"https://localhost:{port}/mcp"

    def start_connect(self, client: str, *more: str) -> str:
        to = ["--to", self.resource, "--server", "ledger", "--identity", f"{client}-bot", "--client-id", client]
        connect = self.part(f"connect-{client}", self.binary, "connect", *to, *more, "--listen", "127.0.0.1:0")
        return connect.start(r'(http://127\.0\.0\.1:\d+[^\s"]*)')

    def token(self, client: str, *scopes: str) -> Token:
        """A token, asked for as this client with its agent's certificate."""
        agent = f"{client}-bot"
        token = ask_for(self.binary, self.home, self.sso.issuer, client, agent, self.resource, *scopes)
        self.tokens.append(token)
        return token

    def part(self, name: str, *command) -> Part:
        self.parts.append(Part(name, self.home, list(command)))
        return self.parts[-1]

    def mint(self, role: str, name: str, *names: str) -> None:
        self.verb("mint", role, name, "--ca", "ca", "--out", name, *names)

    def verb(self, *words) -> None:
        """A verb that ends, which must do so well."""
        done = subprocess.run([self.binary, *words], cwd=self.home, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"countermark {' '.join(words)} failed:\n{done.stdout}{done.stderr}")

    def serials(self, audit: str) -> set[str]:
        """The certificates by which a guard knew billing-bot."""
        lines = (self.home / audit).read_text().splitlines()
        return {line["serial"] for line in map(json.loads, lines) if "billing-bot" in json.dumps(line)}

    def said(self, part: str) -> str:
        return (self.home / f"{part}.out").read_text(errors="replace")

    def end(self) -> None:
        for part in reversed(self.parts):
            part.end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
