"""Looks at servers from outside: a connection and a request for each visit, and the serial that was served."""

import pathlib
import socket
import ssl
import threading


class Visitor(threading.Thread):
    """Visits one port, presenting the agent's newest certificate, until it is told to stop."""

    def __init__(self, name: str, port: int, home: pathlib.Path, pause: float, ask: bool):
        super().__init__(name=name, daemon=True)
        self.port, self.home, self.pause, self.ask = port, home, pause, ask
        self.stop = threading.Event()
        self.visits = self.failures = 0
        self.first = None
        self.serials: list[str] = []

    def run(self) -> None:
        while not self.stop.wait(self.pause):
            self.visits += 1
            try:
                self.visit()
            except Exception as error:  # any of them is a failed request
                self.failures += 1
                self.first = self.first or repr(error)

    def visit(self) -> None:
        # OpenSSL opens the file twice, for the chain and for the key: resolved once, both are of one generation.
        bundle = (self.home / "billing-bot/credential-bundle.pem").resolve()
        trust = ssl.create_default_context(cafile=str(self.home / "billing-bot/ca.crt"))
        trust.load_cert_chain(str(bundle))
        with socket.create_connection(("127.0.0.1", self.port), 10) as plain:
            with trust.wrap_socket(plain, server_hostname="localhost") as secure:
                serial = secure.getpeercert()["serialNumber"].lower()
                if serial not in self.serials:
                    self.serials.append(serial)
                if self.ask:
                    self.request(secure)

    def request(self, secure: ssl.SSLSocket) -> None:
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := secure.recv(4096):
            answer += piece
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ValueError(answer[:80])
