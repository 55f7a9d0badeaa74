#!/usr/bin/env python3
"""Sets Keycloak up in a folder: from Maven Central, unpacked, and built for a fast start. Twice does no harm.

    python3 examples/keycloak/install.py DIR
"""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

VERSION = "26.7.0"
ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy"
# What is settled when Keycloak is built: a database that dies with it, and a certificate of whoever has one.
SETTLED = ["--db=dev-mem", "--https-client-auth=request"]
STAMP = "built-with"


def keycloak(folder: pathlib.Path) -> pathlib.Path | None:
    """The Keycloak that was set up there, whole."""
    home = folder / f"keycloak-{VERSION}"
    try:
        return home if (home / STAMP).read_text() == " ".join(SETTLED) else None
    except OSError:
        return None


def found(given: str | None) -> pathlib.Path:
    """The one that is given, the tests', or one that is set up below target/."""
    from needs import ROOT, Missing

    def require(program: str, package: str) -> None:
        if not shutil.which(program):
            raise Missing(f"{program} is not installed: get {package}")

    require("java", "a Java of version 17, 21 or 25")
    places = [pathlib.Path(given)] if given else [ROOT / "target/peers/keycloak", ROOT / "target/keycloak"]
    for place in places:
        if home := keycloak(place.resolve()):
            return home
    if given:
        raise Missing(f"{given} holds no Keycloak: examples/keycloak/install.py {given} sets it up there")
    require("mvn", "Maven")
    print(f"setting up Keycloak {VERSION} in {places[-1]} (176 MB, and minutes to build it)", flush=True)
    try:
        return install(places[-1].resolve())
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"Keycloak cannot be set up: {error}") from error


def install(folder: pathlib.Path) -> pathlib.Path:
    if whole := keycloak(folder):
        return whole
    home = folder / f"keycloak-{VERSION}"
    shutil.rmtree(home, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["--batch-mode", "--quiet", "--no-transfer-progress"]
    run(["mvn", *flags, COPY, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}"])
    archive = folder / f"keycloak-quarkus-dist-{VERSION}.zip"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    archive.unlink()
    run(["sh", str(home / "bin/kc.sh"), "build", *SETTLED], JAVA_OPTS_APPEND="-Xmx512m")
    (home / STAMP).write_text(" ".join(SETTLED))
    return home


def run(command: list[str], **environment: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env={**os.environ, **environment}, timeout=900)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(install(pathlib.Path(sys.argv[1]).resolve()))
