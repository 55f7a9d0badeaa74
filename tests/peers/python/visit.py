"""Visits a TLS server again and again, a new connection for each request, and says what it saw, a line each:

`serial X` when another certificate is served, `failed WHY` for a request without a right answer, `visits N` now and then.
"""

import socket
import ssl
import sys
import time


def visit(port: int, identity: str) -> str:
    trust = ssl.create_default_context(cafile=f"{identity}/ca.crt")
    trust.load_cert_chain(f"{identity}/credential-bundle.pem")
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        with trust.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            # Not to the end of the connection, which some keep open a while after they said that they close it.
            while b"\r\n\r\n" not in answer and (piece := secure.recv(4096)):
                answer += piece
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise ValueError(answer[:80])
            return secure.getpeercert()["serialNumber"].lower()


def main() -> None:
    port, identity = int(sys.argv[1]), sys.argv[2]
    served, visits = None, 0
    while True:
        visits += 1
        try:
            serial = visit(port, identity)
            if serial != served:
                served = serial
                print(f"serial {serial}", flush=True)
        except Exception as error:  # any of them is a failed request
            print(f"failed {error!r}", flush=True)
        if visits % 100 == 0:
            print(f"visits {visits}", flush=True)
        time.sleep(0.01)


main()
