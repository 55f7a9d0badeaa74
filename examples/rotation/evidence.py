"""What was seen, put beside what was promised."""

import json
import pathlib


def events(log: pathlib.Path) -> list[dict]:
    """The events of the rotation; a line that a kill cut short is none."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "event" in event:
            found.append(event)
    return found


class Evidence:
    def __init__(self, home: pathlib.Path, life: int, seconds: float):
        self.home, self.life, self.seconds = home, life, seconds
        self.events = events(home / "rotate.out")
        self.faults: list[str] = []

    def of(self, credential: str, name: str) -> list[dict]:
        return [event for event in self.events if event.get("credential") == credential and event["event"] == name]

    def load(self, sessions: list[dict], web) -> None:
        rows = [(f"mcp {each['era']}, one session throughout", each) for each in sessions]
        nginx = {"calls": web.visits, "denials": 0, "failures": web.failures, "first": web.first}
        rows.append(("https to nginx, a handshake each", nginx))
        print(f"\n{'load':<42}{'requests':>9}{'denied':>8}{'failed':>8}")
        for what, seen in rows:
            print(f"{what:<42}{seen['calls']:>9}{seen['denials']:>8}{seen['failures']:>8}")
            if seen["failures"]:
                self.faults.append(f"{seen['failures']} failed requests ({what}), the first: {seen['first']}")
            if seen["calls"] < self.seconds:
                self.faults.append(f"less than one request a second is no load ({what})")

    def served(self, credential: str, consumer: str, serials: list[str], probed: bool) -> None:
        """What was delivered, what was seen from outside, and what the daemon itself proved."""
        renewed = [event["serial"] for event in self.of(credential, "renewed")]
        seen = [serial for serial in serials if serial in renewed]
        proven = sum(event["proven"] for event in self.of(credential, "succeeded"))
        ends = f"{serials[0][:12]}… {serials[-1][:12]}…" if serials else "-"
        proofs = proven if probed else "-"
        print(f"{credential:<13}{consumer:<10}{len(renewed):>10}{len(seen):>6}{proofs:>8}  {ends}")
        if len(seen) < max(2, self.seconds / self.life):
            self.faults.append(f"{consumer} was seen with {len(seen)} new generations of {credential} only")
        if probed and proven < len(seen) - 1:
            self.faults.append(f"{consumer} served {len(seen)} generations, and the probe proved {proven}")

    def troubles(self, parts) -> None:
        counts = {name: 0 for name in ("renewal_failed", "served_serial_mismatch", "hook_failed")}
        for event in self.events:
            if event["event"] in counts:
                counts[event["event"]] += 1
        kills = ", ".join(f"{part.name} {part.kills} times" for part in parts)
        print(f"\nkilled with SIGKILL and started again: {kills}")
        print("on the way: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
        self.faults.extend(f"{part.name} was never killed" for part in parts if part.kills == 0)

    def audited(self) -> list[str]:
        """The serials by which guard knew the agent, in order."""
        serials: dict[str, None] = {}
        for line in (self.home / "audit.jsonl").read_text(errors="replace").splitlines():
            serials.setdefault(json.loads(line)["serial"])
        return list(serials)
