"""Keycloak: started in a folder of its own, and told what to do over its admin API."""

import http.client
import json
import os
import pathlib
import secrets
import shutil
import ssl
import time
import urllib.parse

from needs import ROOT
from parts import Part

REALM = ROOT / "tests/peers/keycloak/mcp-realm.json"
# Whom the tokens of that file are for, and whose certificates its clients have.
AUDIENCE, ROOT_NAME = "https://localhost:8443/mcp", "CN=Countermark root,O=agents.internal"

CONFIGURATION = """http-enabled=false
http-host=127.0.0.1
hostname={url}
https-port={port}
https-certificate-file={home}/sso/tls.crt
https-certificate-key-file={home}/sso/tls.key
https-trust-store-file={home}/ca/root.crt
truststore-paths={home}/ca/root.crt
cache=local
bootstrap-admin-username=admin
bootstrap-admin-password={password}
"""

# As its kc.sh does, without a shell in between, so that ending the process ends Keycloak.
PACKAGES = ("java.util", "java.util.concurrent", "java.security", "java.lang")
OPENS = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in PACKAGES]
JAVA = ["-Xms64m", "-Xmx512m", "-XX:TieredStopAtLevel=1", *OPENS, "-Djava.util.logging.manager=org.jboss.logmanager.LogManager"]
MAIN = "io.quarkus.bootstrap.runner.QuarkusEntryPoint"


class Keycloak:
    """One that knows nothing but the realm of the file, and forgets everything when it ends."""

    def __init__(self, home: pathlib.Path, installed: pathlib.Path, port: int, audience: str):
        self.port, self.url = port, f"https://localhost:{port}"
        self.issuer = f"{self.url}/realms/mcp"
        self.tls = ssl.create_default_context(cafile=str(home / "ca/root.crt"))
        self.password = secrets.token_urlsafe(24)
        own = home / "keycloak"
        (own / "data/import").mkdir(parents=True)
        realm = REALM.read_text().replace(AUDIENCE, audience).replace(ROOT_NAME, self.root_name())
        (own / "data/import" / REALM.name).write_text(realm)
        for shared in ("lib", "providers", "themes"):
            (own / shared).symlink_to(installed / shared)
        shutil.copytree(installed / "conf", own / "conf")
        text = CONFIGURATION.format(home=home, url=self.url, port=port, password=self.password)
        with open(own / "conf/keycloak.conf", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)
        homes = [f"-Dkc.home.dir={own}", f"-Djboss.server.config.dir={own}/conf"]
        start = ["-cp", own / "lib/quarkus-run.jar", MAIN, "start", "--optimized", "--import-realm"]
        self.part = Part("keycloak", home, ["java", *JAVA, *homes, *start])

    def root_name(self) -> str:
        """The name of the agents' CA as RFC 4514 writes it."""
        [root] = self.tls.get_ca_certs()
        short = {"commonName": "CN", "organizationName": "O"}
        return ",".join(f"{short[kind]}={value}" for ((kind, value),) in reversed(root["subject"]))

    def start(self) -> float:
        """Returns how long it took."""
        begun = time.monotonic()
        self.part.start(r"Listening on: https://", patience=400)
        return time.monotonic() - begun

    def ask(self, method: str, path: str, body: str | None, headers: dict) -> tuple[int, str]:
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=self.tls)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def admin(self, method: str, path: str, document: object = None) -> object:
        """One request to the admin API, with a token of its own: they live for a minute."""
        login = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": self.password}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        token_path = "/realms/master/protocol/openid-connect/token"
        status, text = self.ask("POST", token_path, urllib.parse.urlencode(login), form)
        if status != 200:
            raise RuntimeError(f"Keycloak does not know its administrator: {status}")
        headers = {"Authorization": f"Bearer {json.loads(text)['access_token']}", "Content-Type": "application/json"}
        body = None if document is None else json.dumps(document)
        status, text = self.ask(method, f"/admin/realms/mcp{path}", body, headers)
        if status not in (200, 201, 204):
            raise RuntimeError(f"{method} {path}: Keycloak answers {status} {text[:200]}")
        return json.loads(text) if text else None

    def change_client(self, name: str, **changes) -> None:
        [client] = self.admin("GET", f"/clients?clientId={name}")
        client["attributes"].update(changes.pop("attributes", {}))
        self.admin("PUT", f"/clients/{client['id']}", {**client, **changes})

    def add_signing_key(self, name: str, priority: int) -> str:
        """A new key, with which it signs from now on if its priority is the highest."""
        config = {"priority": str(priority), "enabled": "true", "active": "true", "algorithm": "RS256", "keySize": "2048"}
        config = {name: [value] for name, value in config.items()}
        provider = {"providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider"}
        realm = self.admin("GET", "")["id"]
        self.admin("POST", "/components", {"name": name, "parentId": realm, "config": config, **provider})
        return self.signing_key()

    def signing_key(self) -> str:
        return self.admin("GET", "/keys")["active"]["RS256"]

    def remove_signing_key(self, kid: str) -> None:
        [provider] = [key["providerId"] for key in self.admin("GET", "/keys")["keys"] if key["kid"] == kid]
        self.admin("DELETE", f"/components/{provider}")

    def events(self) -> set[tuple[str, str]]:
        """What it has recorded of its administrator: operation and kind of resource."""
        return {(event["operationType"], event["resourceType"]) for event in self.admin("GET", "/admin-events?max=100")}
