"""Looks for tokens where none may be: in every file of the run, in clear, in base64 and in hex."""

import base64
import os
import pathlib

from calls import Token


def needles(tokens: list[Token]) -> list[bytes]:
    """What would give a token away.

    The header of a token is the same for all that are signed with one key, so it finds those, too, that nobody but
    connect and guard has ever seen.
    """
    plain = {part.encode() for token in tokens for part in (token.value.split(".")[0], token.value.split(".")[2])}
    found = set(plain)
    for text in plain:
        found.update((text.hex().encode(), text.hex().upper().encode()))
        for shift in range(3):
            # Where it starts within a group of three decides how base64 writes it; the ends depend on the neighbours.
            encoded = base64.b64encode(b"\0" * shift + text)[4:-4]
            found.update((encoded, encoded.replace(b"+", b"-").replace(b"/", b"_")))
    return sorted(found)


def register(tokens: list[Token]) -> None:
    """Tells whoever looks through the output of the whole run, as `cargo xtask test` does."""
    if file := os.environ.get("COUNTERMARK_TOKEN_REGISTER"):
        parts = {part for token in tokens for part in (token.value.split(".")[0], token.value.split(".")[2])}
        with open(file, "a", encoding="ascii") as issued:
            issued.writelines(f"{part}\n" for part in sorted(parts))


def search(home: pathlib.Path, tokens: list[Token], skipped: pathlib.Path) -> tuple[int, list[str]]:
    """How many files were read, and where a token stands."""
    wanted, files, found = needles(tokens), 0, []
    for path in sorted(home.rglob("*")):
        if path.is_symlink() or not path.is_file() or skipped in path.parents:
            continue
        content = path.read_bytes()
        files += 1
        if any(needle in content for needle in wanted):
            found.append(str(path.relative_to(home)))
    return files, found
