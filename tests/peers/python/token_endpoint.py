"""A token endpoint that has Authlib, and joserfc beneath it, judge what clients prove themselves with.

Prints its issuer, and for each request to the token endpoint one line of JSON: `faults`, and what was seen. It wants a nonce
in every proof, so that each client comes twice.
"""

import argparse
import base64
import http.server
import json
import os
import pathlib
import secrets
import ssl
import time
import types
import urllib.parse

from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from joserfc import jwk, jwt
from joserfc.errors import JoseError

ALGORITHMS = ["ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519"]
LONGEST = 60
SKEW = 10


class Client:
    def __init__(self, name: str, file: pathlib.Path):
        self.name, text = name, file.read_bytes()
        if b"BEGIN CERTIFICATE" in text:
            form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            text = x509.load_pem_x509_certificate(text).public_key().public_bytes(*form)
        for kind in ("EC", "RSA", "OKP"):
            try:
                self.key = jwk.import_key(text.decode(), kind)
                return
            except (JoseError, ValueError, TypeError):
                continue
        raise ValueError(f"{file} holds no key that Authlib knows")

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return endpoint == "token"


class Assertions(JWTBearerClientAssertion):
    """Authlib's own judgement; the audience is the issuer and nothing else."""

    def __init__(self, issuer: str):
        super().__init__(leeway=SKEW)
        self.issuer, self.used = issuer, set()

    def get_audiences(self):
        return [self.issuer]

    def process_assertion_claims(self, assertion, resolve_key):
        """As Authlib does, with more algorithms than it takes by default."""
        try:
            claims = jwt.decode(assertion, resolve_key, algorithms=ALGORITHMS).claims
        except JoseError as error:
            raise InvalidClientError(description=error.description) from error
        self.verify_claims(claims)
        return claims

    def resolve_client_public_key(self, client):
        return client.key

    def validate_jti(self, claims, jti):
        fresh = jti not in self.used
        self.used.add(jti)
        return fresh


class Judge:
    def __init__(self, issuer: str, clients: list[Client]):
        self.issuer, self.clients = issuer, {client.name: client for client in clients}
        self.assertions, self.nonce, self.proofs = Assertions(issuer), secrets.token_urlsafe(16), set()

    def assertion(self, form: dict) -> tuple[str | None, dict]:
        """What is wrong with it, and its claims."""
        try:
            self.assertions(self.clients.get, types.SimpleNamespace(form=form, client=None))
        except InvalidClientError as error:
            return f"assertion: {error.description}", {}
        client = self.clients[form["client_id"]]
        token = jwt.decode(form["client_assertion"], client.key, algorithms=ALGORITHMS)
        claims = token.claims
        if claims["aud"] != self.issuer:
            return f"assertion: the audience is {claims['aud']}", claims
        if claims["sub"] != client.name or not 0 < claims["exp"] - claims["iat"] <= LONGEST:
            return "assertion: another client, or a life of more than a minute", claims
        return None, {"algorithm": token.header["alg"], **claims}

    def proof(self, headers, url: str) -> tuple[str | None, bool]:
        """What is wrong with it, and whether it carries our nonce."""
        values = headers.get_all("DPoP", [])
        if len(values) != 1:
            return f"proof: {len(values)} DPoP headers", False
        header = json.loads(decode(values[0].split(".")[0]))
        if header.get("typ") != "dpop+jwt" or header.get("alg") not in ALGORITHMS:
            return f"proof: typ and alg are {header.get('typ')} and {header.get('alg')}", False
        key = jwk.import_key(header["jwk"])
        if key.is_private:
            return "proof: jwk is a private key", False
        try:
            claims = jwt.decode(values[0], key, algorithms=ALGORITHMS).claims
            wanted = {"htm": {"essential": True, "value": "POST"}, "htu": {"essential": True, "value": url}}
            present = {name: {"essential": True} for name in ("iat", "jti")}
            jwt.JWTClaimsRegistry(leeway=SKEW, **wanted, **present).validate(claims)
        except JoseError as error:
            return f"proof: {error}", False
        if claims["jti"] in self.proofs or abs(claims["iat"] - time.time()) > SKEW or "ath" in claims:
            return "proof: used before, of another time, or bound to a token", False
        self.proofs.add(claims["jti"])
        return None, claims.get("nonce") == self.nonce


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class Handler(http.server.BaseHTTPRequestHandler):
    judge: Judge

    def do_GET(self):
        issuer = self.judge.issuer
        methods = {"token_endpoint_auth_methods_supported": ["private_key_jwt"], "dpop_signing_alg_values_supported": ["ES256"],
                   "token_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "PS256", "RS256", "EdDSA"]}
        document = {"issuer": issuer, "token_endpoint": f"{issuer}/token", "response_types_supported": [], **methods}
        known = self.path == "/.well-known/oauth-authorization-server"
        self.answer(200 if known else 404, document if known else {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        pairs = urllib.parse.parse_qsl(body, keep_blank_values=True)
        form = dict(pairs)
        fault, claims = self.judge.assertion(form)
        misproof, fresh = self.judge.proof(self.headers, f"{self.judge.issuer}/token")
        faults = [each for each in (fault, misproof) if each]
        if len(form) != len(pairs):
            faults.append("form: a member stands twice")
        seen = {name: form.get(name) for name in ("grant_type", "resource", "scope", "client_id")}
        print(json.dumps({"faults": faults, "algorithm": claims.get("algorithm"), "nonce": fresh, **seen}), flush=True)
        if faults:
            self.answer(400, {"error": "invalid_client"})
        elif not fresh:
            self.answer(400, {"error": "use_dpop_nonce"}, nonce=self.judge.nonce)
        else:
            token = secrets.token_urlsafe(24)
            # Whoever looks for tokens in all that a run has written has to know them.
            if register := os.environ.get("COUNTERMARK_TOKEN_REGISTER"):
                with open(register, "a", encoding="ascii") as file:
                    file.write(f"{token}\n")
            self.answer(200, {"access_token": token, "token_type": "DPoP", "expires_in": 60})

    def answer(self, status: int, document: dict, nonce: str | None = None):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if nonce:
            self.send_header("DPoP-Nonce", nonce)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--identity", type=pathlib.Path, required=True)
    parser.add_argument("--client", action="append", required=True, metavar="NAME=FILE")
    given = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(given.identity / "tls.crt", given.identity / "tls.key")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    issuer = f"https://localhost:{server.server_address[1]}"
    pairs = (client.split("=", 1) for client in given.client)
    Handler.judge = Judge(issuer, [Client(name, pathlib.Path(file)) for name, file in pairs])
    print(issuer, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
