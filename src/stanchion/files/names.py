"""Names that users give: what may be one, and what a file is called after them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

from ..errors import ConfigError

SEPARATORS = {"/": "folders", "\\": "folders", "+": "guards", ",": "lists", ":": "conditions"}
LONGEST = 100  # characters; file systems take 255 bytes
PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.]*")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # on Windows


def check_name(what: str, name: str) -> None:
    """Raise ConfigError for a name that would be read as something else where it is written.

    Args:
        what: whose name it is, for the message.
    """
    if not isinstance(name, str):
        raise ConfigError(f"{what} {name!r}: a name is a text.")
    for sign, separated in SEPARATORS.items():
        if sign in name:
            raise ConfigError(f"{what} {name!r}: a name has no {sign!r}, which separates {separated}; leave it out.")
    if name in ("", ".", "..") or name != name.strip() or len(name) > LONGEST:
        raise ConfigError(f"{what} {name!r}: give a name of 1 to {LONGEST} characters, without spaces around it.")
    if hidden := [sign for sign in name if unicodedata.category(sign)[0] == "C"]:
        raise ConfigError(f"{what} {name!r}: a name has no control characters; leave {hidden[0]!r} out.")


def file_name(*names: str) -> str:
    """A file's name, without its ending, after one or several names: the same for the same, another for others.

    Plain names stay as they are, joined by "-". Whatever could leave the folder, is reserved somewhere, or differs
    from another only in case, in Unicode's form or in where a "-" stands, gets a mark of its own behind a "~".
    """
    names = tuple(unicodedata.normalize("NFC", name) for name in names)
    joined = "-".join(names)
    plain = all(PLAIN.fullmatch(name) and name[-1] != "." for name in names)
    if plain and len(joined) <= LONGEST and not RESERVED.fullmatch(joined):
        return joined
    readable = re.sub(r"[^a-z0-9_-]+", "_", joined.lower())[: LONGEST // 2]
    mark = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}~{mark[:10]}"


def inside(folder: Path, name: str, where: str, error: type[ConfigError] = ConfigError) -> Path:
    """The file or folder of that name in a folder.

    Raises:
        ConfigError: the name leads anywhere else; ``where`` says in which document it stands.
    """
    if name in ("", ".", "..") or set(name) & set("/\\:\0"):
        raise error(f"{where}: {name!r} is no name of a file in {str(folder)!r}; nothing outside of it is read.")
    return folder / name
