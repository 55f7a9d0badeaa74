"""Programs that run beside the example: awaited by what they say, killed, started again, and ended with it."""

import pathlib
import re
import signal
import subprocess
import time


class Part:
    """One program and its log."""

    def __init__(self, name: str, home: pathlib.Path, command: list):
        self.name, self.home, self.command = name, home, [str(word) for word in command]
        self.log = home / f"{name}.out"
        self.process = None
        self.kills = 0
        self._read = 0

    def start(self, ready: str, patience: float = 30.0) -> str:
        """Starts it and returns what `ready` captures in its log once it is there."""
        self._read = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            flags = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(self.command, cwd=self.home, **flags)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            with self.log.open("rb") as log:
                log.seek(self._read)
                said = log.read().decode(errors="replace")
            found = re.search(ready, said)
            if found:
                return found.group(found.lastindex or 0)
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} is not ready; it said:\n{said[-2000:]}")

    def kill(self) -> None:
        """As a power cut would: no goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.kills += 1

    def died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def end(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
