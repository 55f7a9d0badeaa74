"""The estate: an authority, three credentials of thirty seconds, and what uses them."""

import pathlib
import socket
import subprocess
import time

from needs import ROOT
from parts import Part

LIFE = 30
DOMAIN = "agents.internal"

POLICY = f"""version = 1
trust_domain = "{DOMAIN}"

[[grant]]
who = ["billing-bot"]
servers = ["ledger"]
tools = ["read_balance"]
"""

ROTATE = """version = 1
socket = "rotate.sock"

[[issuer]]
name = "authority"
kind = "authority"
url = "{authority}"

[[credential]]
name = "ledger"
identity = "spiffe://agents.internal/server/ledger"
issuer = "authority"
directory = "ledger"
probe = {{ address = "{guard}" }}

[[credential]]
name = "web"
identity = "spiffe://agents.internal/server/web"
issuer = "authority"
directory = "web"
probe = {{ address = "{web}" }}

[[credential.hook]]
signal = "HUP"
pid-file = "nginx.pid"

[[credential]]
name = "billing-bot"
identity = "spiffe://agents.internal/agent/billing-bot"
issuer = "authority"
directory = "billing-bot"
"""

NGINX = """daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/nginx.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/nginx-body;
    proxy_temp_path {home}/nginx-proxy;
    fastcgi_temp_path {home}/nginx-fastcgi;
    uwsgi_temp_path {home}/nginx-uwsgi;
    scgi_temp_path {home}/nginx-scgi;
    server {{
        listen {address} ssl;
        ssl_protocols TLSv1.3;
        ssl_certificate {home}/web/tls.crt;
        ssl_certificate_key {home}/web/tls.key;
        ssl_client_certificate {home}/web/ca.crt;
        ssl_verify_client on;
        ssl_verify_depth 3;
        location / {{ return 200 "$ssl_client_serial"; }}
    }}
}}
"""


class Estate:
    def __init__(self, home: pathlib.Path, binary: pathlib.Path, nginx: str, python: str):
        self.home, self.binary, self.nginx, self.python = home, binary, nginx, python
        self.parts: list[Part] = []
        self.verb("ca", "init", "--trust-domain", DOMAIN, "--plaintext-key", "--dir", "ca")
        for role in ("agent", "server"):
            self.shorten(home / f"ca/profiles/{role}.toml")
        (home / "policy.toml").write_text(POLICY)

    @staticmethod
    def shorten(profile: pathlib.Path) -> None:
        text = profile.read_text()
        for key, usual in (("min_ttl", "5m"), ("default_ttl", "1h")):
            if f'{key} = "{usual}"' not in text:
                raise RuntimeError(f"{profile} says something else than it used to")
            text = text.replace(f'{key} = "{usual}"', f'{key} = "{LIFE}s"')
        profile.write_text(text)

    def start(self) -> None:
        """Starts everything, each part once what it needs is there."""
        serve = ["ca", "serve", "--dir", "ca", "--dns", "localhost", "--listen"]
        self.authority = self.part("authority", self.binary, *serve, "127.0.0.1:0")
        authority = self.authority.start(r'url="?(https://[^\s"]+)').rstrip("/")
        # It comes back where its clients know it.
        self.authority.command[-1] = "127.0.0.1:" + authority.rsplit(":", 1)[1]
        self.enrol("server", "ledger", "--dns", "localhost")
        self.enrol("server", "web", "--dns", "localhost")
        self.enrol("agent", "billing-bot")
        server = self.part("server", self.python, ROOT / "tests/peers/python/server.py")
        self.start_guard(server.start(r"(http://127\.0\.0\.1:\d+/mcp)"))
        self.start_nginx()
        self.start_rotate(authority)
        to = ["--to", f"https://localhost:{self.guard_port}/mcp", "--server", "ledger", "--identity", "billing-bot"]
        connect = self.part("connect", self.binary, "connect", *to, "--listen", "127.0.0.1:0")
        self.url = connect.start(r'(http://127\.0\.0\.1:\d+[^\s"]*)')

    def start_guard(self, upstream: str) -> None:
        files = ["--identity", "ledger", "--policy", "policy.toml", "--audit", "audit.jsonl"]
        guard = self.part("guard", self.binary, "guard", "--listen", "127.0.0.1:0", "--upstream", upstream, *files)
        self.guard_port = int(guard.start(r'https://[^\s":]+:(\d+)'))

    def start_nginx(self) -> None:
        self.web_port = free_port()
        text = NGINX.format(home=self.home, address=f"127.0.0.1:{self.web_port}")
        (self.home / "nginx.conf").write_text(text)
        nginx = self.part("nginx", self.nginx, "-c", self.home / "nginx.conf", "-e", self.home / "nginx.log")
        nginx.start("")
        await_port(self.web_port)

    def start_rotate(self, authority: str) -> None:
        guard, web = (f"127.0.0.1:{port}" for port in (self.guard_port, self.web_port))
        (self.home / "rotate.toml").write_text(ROTATE.format(authority=authority, guard=guard, web=web))
        self.rotate = self.part("rotate", self.binary, "rotate", "--config", "rotate.toml", "--log-format", "json")
        self.rotate.start("rotate runs")

    def part(self, name: str, *command) -> Part:
        self.parts.append(Part(name, self.home, list(command)))
        return self.parts[-1]

    def enrol(self, role: str, name: str, *names) -> None:
        self.verb("ca", "invite", role, name, "--ca", "ca", "--out", f"{name}.invite", *names)
        self.verb("join", "--invite", f"{name}.invite", "--out", name)

    def verb(self, *words) -> None:
        """A verb that ends, which must do so well."""
        command = [self.binary, *words]
        done = subprocess.run(command, cwd=self.home, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"countermark {' '.join(words)} failed:\n{done.stdout}{done.stderr}")

    def end(self) -> None:
        for part in reversed(self.parts):
            part.end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def await_port(port: int) -> None:
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nobody listens at 127.0.0.1:{port}")
