#!/usr/bin/env python3
"""Certificate-bound tokens of a real Keycloak: guard requires them, two agents get them, and a stolen one is worthless.

    python3 examples/keycloak/run.py

It ends with exit code 0 only if every step was seen to be as it should.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROTATION = pathlib.Path(__file__).resolve().parents[1] / "rotation"
sys.path.append(str(ROTATION))

import install
import leaks
import needs
from calls import call
from estate import INTROSPECTED, Estate

LOAD = 20
ROTATIONS = 5
LIFE = 25
COOLDOWN = 31
LONGEST = 600


class Story:
    """The steps, each with what was seen."""

    def __init__(self, estate: Estate):
        self.estate = estate
        self.faults: list[str] = []

    def saw(self, step: str, held: bool, evidence: object) -> None:
        print(f"{'ok' if held else 'FAILED':<7}{step:<35}{evidence}", flush=True)
        if not held:
            self.faults.append(step)

    def allowed(self) -> None:
        for client, url in (("billing", self.estate.billing), ("intern", self.estate.intern)):
            answer = call(url, "read_balance", {})
            self.saw(f"allowed: {client}", answer.text == "cash: 42", answer)

    def missing_scope(self) -> None:
        """Without its scopes a call is told all of them; connect asks for them and calls again."""
        estate, entry = self.estate, {"account": "cash", "amount": 1}
        agent = estate.home / "billing-bot"
        answer = call(estate.guard, "post_entry", entry, agent, estate.token("billing").value)
        named = 'error="insufficient_scope"' in answer.challenge and "ledger.read ledger.write" in answer.challenge
        self.saw("missing scope: told which", answer.status == 403 and named, answer)
        answer = call(estate.billing, "post_entry", entry)
        self.saw("missing scope: connect steps up", answer.text is not None, answer)

    def missing_role(self) -> None:
        answer = call(self.estate.billing, "close_books", {})
        self.saw("role: billing has it", answer.text == "closed", answer)
        answer = call(self.estate.intern, "close_books", {})
        told = "close_books` is not available to `intern-bot`" in answer.denial
        self.saw("missing role: intern is denied", told and answer.text is None, answer)

    def stolen(self) -> None:
        estate = self.estate
        token = estate.token("billing", "ledger.read").value
        agents = [estate.home / agent for agent in ("billing-bot", "intern-bot")]
        own, other = (call(estate.guard, "read_balance", {}, agent, token) for agent in agents)
        self.saw("token with its certificate", own.text == "cash: 42", own)
        refused = other.status == 401 and 'error="invalid_token"' in other.challenge and other.text is None
        self.saw("stolen token: refused", refused, other)

    def rotated(self) -> None:
        """New certificates while two sessions of the official SDK call without a pause."""
        estate = self.estate
        load = [estate.python, ROTATION / "client.py", "--url", estate.billing, "--seconds", str(LOAD)]
        client = subprocess.Popen(load, stdout=subprocess.PIPE, text=True)
        try:
            for _ in range(ROTATIONS):
                time.sleep(LOAD / (ROTATIONS + 3))
                estate.mint("agent", "billing-bot")
            sessions = json.loads(client.communicate(timeout=LOAD + 60)[0] or "[]")
        finally:
            client.kill()
            client.wait()
        calls, failures = (sum(each[what] for each in sessions) for what in ("calls", "failures"))
        generations = estate.said("connect-billing").count("certificate and tokens were replaced as one")
        seen = len(estate.serials("guard.jsonl"))
        first = next((each["first"] for each in sessions if each["first"]), "")
        held = len(sessions) == 2 and failures == 0 and calls > LOAD and min(generations, seen) >= ROTATIONS - 1
        evidence = f"{calls} calls, {failures} failed, {generations} new generations, {seen} certificates seen by guard {first}"
        self.saw("certificate rotated under load", held, evidence)

    def keys_rotated(self) -> None:
        """Keycloak signs with another key: its tokens count at once. The old key goes: so do its tokens."""
        estate, agent = self.estate, self.estate.home / "billing-bot"
        old = estate.token("billing", "ledger.read")
        # A guard asks for keys that it does not know twice a minute at most.
        time.sleep(max(0, estate.since + COOLDOWN - time.monotonic()))
        kid = estate.sso.add_signing_key("second", 200)
        new = estate.token("billing", "ledger.read")
        answer = call(estate.trusting, "read_balance", {}, agent, new.value)
        self.saw("new signing key: counts at once", old.kid != new.kid == kid and answer.text == "cash: 42", answer)
        answer = call(estate.trusting, "read_balance", {}, agent, old.value)
        self.saw("token of the old key: counts", answer.text == "cash: 42", answer)
        estate.sso.remove_signing_key(old.kid)
        time.sleep(COOLDOWN)
        estate.sso.add_signing_key("third", 300)
        answer = call(estate.trusting, "read_balance", {}, agent, estate.token("billing", "ledger.read").value)
        self.saw("a third key: counts at once", answer.text == "cash: 42", answer)
        answer = call(estate.trusting, "read_balance", {}, agent, old.value)
        self.saw("the old key is gone: refused", answer.status == 401 and answer.text is None, answer)
        answer = call(estate.billing, "read_balance", {})
        self.saw("connect has newer tokens", answer.text == "cash: 42", answer)

    def disabled(self) -> None:
        """Where Keycloak is asked, its word counts within seconds; where it is not, a token lives to its end."""
        estate, agent = self.estate, self.estate.home / "billing-bot"
        estate.sso.change_client("billing", attributes={"access.token.lifespan": str(LIFE)})
        token = estate.token("billing", "ledger.read")
        before = [call(url, "read_balance", {}, agent, token.value).text for url in (estate.guard, estate.trusting)]
        self.saw("before: both guards permit", before == ["cash: 42"] * 2, before)
        estate.sso.change_client("billing", enabled=False)
        since = time.monotonic()
        begun, permitted = since, 0.0
        while (answer := call(estate.guard, "read_balance", {}, agent, token.value)).status == 200 and begun < since + 20:
            permitted = begun - since
            time.sleep(0.2)
            begun = time.monotonic()
        # A call that began later had to be asked about, however long that took on a busy machine.
        held = answer.status == 401 and permitted < INTROSPECTED + 1
        self.saw("disabled, introspection: refused", held, f"permitted for {permitted:.1f} s, then {answer}")
        answer = call(estate.trusting, "read_balance", {}, agent, token.value)
        left = token.claims["exp"] - time.time()
        held = answer.text == "cash: 42" and left > 0
        self.saw("disabled, none: still permitted", held, f"{answer}, {left:.0f} s before its end")
        time.sleep(max(0, left) + 1)
        answer = call(estate.trusting, "read_balance", {}, agent, token.value)
        self.saw("disabled, none: refused at its end", answer.status == 401 and answer.text is None, answer)
        answer = call(estate.billing, "read_balance", {})
        self.saw("disabled: connect gets no further", answer.text is None, answer)
        answer = call(estate.intern, "read_balance", {})
        self.saw("intern is not affected", answer.text == "cash: 42", answer)

    def recorded(self) -> None:
        events = self.estate.sso.events()
        wanted = {("UPDATE", "CLIENT"), ("CREATE", "COMPONENT"), ("DELETE", "COMPONENT")}
        self.saw("admin events", wanted <= events, ", ".join(" ".join(event).lower() for event in sorted(events)))

    def nothing_leaked(self) -> None:
        estate = self.estate
        leaks.register(estate.tokens)
        files, found = leaks.search(estate.home, estate.tokens, estate.home / "keycloak")
        evidence = f"{len(estate.tokens)} tokens, and all others of their keys, in none of {files} files"
        self.saw("no token in any file", not found and files > 10, found or evidence)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", metavar="PATH", help="countermark [default: built from this checkout]")
    parser.add_argument("--python", metavar="PATH", help="a Python with the official SDK [default: found or set up]")
    parser.add_argument("--keycloak", metavar="DIR", help="where install.py has set it up [default: found or made]")
    parser.add_argument("--keep", metavar="DIR", help="keep logs and keys in this new directory")
    given = parser.parse_args()
    try:
        binary, python, keycloak = needs.countermark(given.binary), needs.python(given.python), install.found(given.keycloak)
    except needs.Missing as missing:
        print(f"missing: {missing}", file=sys.stderr)
        return 2
    # Whoever ends this ends its parts, too; so does too long a wait.
    for end in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(end, lambda number, _: sys.exit(128 + number))
    signal.alarm(LONGEST)
    with tempfile.TemporaryDirectory(prefix="countermark-keycloak-") as temporary:
        home = pathlib.Path(given.keep or temporary).resolve()
        home.mkdir(parents=True, exist_ok=True)
        estate = Estate(home, binary, python, keycloak)
        try:
            print("starting Keycloak (up to a minute, or several on a busy machine)", flush=True)
            print(f"Keycloak {install.VERSION} serves {estate.sso.issuer} after {estate.sso.start():.0f} s", flush=True)
            estate.start()
            return tell(Story(estate))
        finally:
            estate.end()


def tell(story: Story) -> int:
    steps = (
        story.allowed, story.missing_scope, story.missing_role, story.stolen, story.rotated,
        story.keys_rotated, story.disabled, story.recorded, story.nothing_leaked,
    )
    for step in steps:
        step()
    print(f"FAILED: {', '.join(story.faults)}" if story.faults else "every step held")
    return 1 if story.faults else 0


if __name__ == "__main__":
    sys.exit(main())
