#!/usr/bin/env python3
"""Rotation under load: authority, daemon, guard, connect, nginx and a Python client on certificates of 30 seconds.

    python3 examples/rotation/run.py                 # ten minutes; --for 60s for less

It ends with exit code 0 only if no request failed although every certificate was replaced every 15 seconds or so and
authority and daemon were killed in between.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import needs
from estate import LIFE, Estate
from evidence import Evidence
from visitor import Visitor

DOWN = 3


def seconds(text: str) -> int:
    scale = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    if scale is None or not text[:-1].isdigit() or not int(text[:-1]):
        raise argparse.ArgumentTypeError(f"`{text}` is no time; write 60s or 10m")
    return int(text[:-1]) * scale


def kills(estate: Estate, until: float, every: float) -> None:
    """Kills authority and daemon in turns, and watches the others, until the load is over."""
    turn, after = 0, time.monotonic() + every
    while time.monotonic() < until:
        time.sleep(0.2)
        for part in estate.parts:
            if part.died():
                raise RuntimeError(f"{part.name} has ended by itself; see {part.log}")
        if time.monotonic() < after or after + DOWN + 5 > until:
            continue
        part, ready = ((estate.authority, "the authority serves"), (estate.rotate, "rotate runs"))[turn % 2]
        part.kill()
        time.sleep(DOWN)
        part.start(ready)
        print(f"{part.name} was killed, and is back after {DOWN} s", flush=True)
        turn, after = turn + 1, after + every


def rotate(estate: Estate, duration: int) -> int:
    estate.start()
    print(f"everything runs, in {estate.home}; load for {duration} s", flush=True)
    here = pathlib.Path(__file__).parent
    load = [estate.python, here / "client.py", "--url", estate.url, "--seconds", str(duration)]
    client = subprocess.Popen(load, stdout=subprocess.PIPE, text=True)
    web = Visitor("nginx", estate.web_port, estate.home, 0.1, ask=True)
    guard = Visitor("guard", estate.guard_port, estate.home, 0.5, ask=False)
    try:
        web.start()
        guard.start()
        kills(estate, time.monotonic() + duration, min(30, duration / 5))
        sessions = json.loads(client.communicate(timeout=30)[0] or "[]")
    finally:
        client.kill()
        client.wait()
        for visitor in (web, guard):
            visitor.stop.set()
            visitor.join(15)
    evidence = Evidence(estate.home, LIFE, duration)
    evidence.load(sessions, web)
    if not sessions:
        evidence.faults.append("the client told nothing")
    print(f"\n{'credential':<13}{'consumer':<10}{'delivered':>10}{'seen':>6}{'proven':>8}  first serial … last serial")
    evidence.served("ledger", "guard", guard.serials, probed=True)
    evidence.served("web", "nginx", web.serials, probed=True)
    evidence.served("billing-bot", "connect", evidence.audited(), probed=False)
    evidence.troubles([estate.authority, estate.rotate])
    for fault in evidence.faults:
        print(f"FAILED: {fault}")
    if not evidence.faults:
        print("no request failed")
    return 1 if evidence.faults else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="duration", type=seconds, default="10m", metavar="TIME", help="how long [default: 10m]")
    parser.add_argument("--binary", metavar="PATH", help="countermark [default: built from this checkout]")
    parser.add_argument("--python", metavar="PATH", help="a Python with the official SDK [default: found or set up]")
    parser.add_argument("--keep", metavar="DIR", help="keep logs and keys in this new directory")
    given = parser.parse_args()
    if given.duration < 40:
        parser.error("--for takes 40s at least: certificates live for 30")
    try:
        nginx, python, binary = needs.nginx(), needs.python(given.python), needs.countermark(given.binary)
    except needs.Missing as missing:
        print(f"missing: {missing}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="countermark-rotation-") as temporary:
        home = pathlib.Path(given.keep or temporary).resolve()
        home.mkdir(parents=True, exist_ok=True)
        estate = Estate(home, binary, nginx, python)
        try:
            return rotate(estate, given.duration)
        finally:
            estate.end()


if __name__ == "__main__":
    sys.exit(main())
