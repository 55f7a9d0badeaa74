"""What the example needs, found or made; what is missing is said with what mends it."""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PINS = ROOT / "tests/peers/python/requirements.txt"


class Missing(Exception):
    pass


def countermark(given: str | None) -> pathlib.Path:
    """The binary: the one that is given, or the release build, made if it is not there."""
    if given:
        return pathlib.Path(given).resolve()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    if not shutil.which("cargo"):
        raise Missing("cargo is not installed: get Rust from https://rustup.rs, or give --binary PATH")
    print("building countermark (the first time takes minutes)", flush=True)
    build = ["cargo", "build", "--quiet", "--release", "--package", "countermark-cli"]
    if subprocess.run(build, cwd=ROOT).returncode != 0:
        raise Missing("countermark does not build; the reason stands above")
    return (ROOT / target / "release/countermark").resolve()


def nginx() -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("nginx", path=path)
    if not found:
        raise Missing("nginx is not installed: apt-get install nginx-light, or brew install nginx")
    return found


def python(given: str | None) -> str:
    """A Python that has the official SDK: the one that is given, this one, the tests' or one made below target/."""
    tests, own = (ROOT / f"target/{place}/python/bin/python3" for place in ("peers", "rotation"))
    candidates = [given] if given else [sys.executable, str(tests), str(own)]
    for candidate in candidates:
        look = [candidate, "-c", "import mcp.client.streamable_http, mcp.server.mcpserver, uvicorn"]
        if shutil.which(candidate) and subprocess.run(look, capture_output=True).returncode == 0:
            # Absolute, since it starts elsewhere; not resolved, since a virtual environment is known by its own path.
            return os.path.abspath(shutil.which(candidate))
    if given:
        raise Missing(f"{given} has no mcp: pip install -r {PINS.relative_to(ROOT)}")
    print("setting up the Python SDK below target/rotation", flush=True)
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(own.parents[1])],
        [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(PINS)],
    ]
    for step in steps:
        if subprocess.run(step).returncode != 0:
            raise Missing("the Python SDK cannot be set up: install python3-venv, or give --python PATH of one with mcp")
    return str(own)
