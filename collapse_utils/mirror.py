"""Official data files: in the local mirror $COLLAPSE_DATA, or downloaded where COLLAPSE_DOWNLOAD=1 asks for it; each checked."""

import hashlib
import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
SHIPPED = PROJECT / "shipped"


def project_file(file: str) -> Path:
    """Return the path of a file or folder of the project, e.g. "benchmarks/pruning.json"; the run card knows what it holds.

    file: plain text, from the project's folder. Raises OSError where it is missing.
    """
    path = PROJECT / file
    if not path.exists():
        raise OSError(f"project_file: {file} must lie in the project; got no such file; restore it, e.g. by `git checkout`.")
    return path


def fetch(name: str, file: str, wanted: str | None = None, url: str | None = None) -> Path:
    """Return the path of a data set's file, checked against its digest `wanted` ("sha256:…" or "md5:…"; None: not checked).

    file: where it lies below $COLLAPSE_DATA. Where it is not there, and COLLAPSE_DOWNLOAD=1, it is downloaded once from
    the official `url` into the user's cache (pooch). Raises OSError, in one sentence, for a file that is missing, damaged,
    or cannot be downloaded.
    """
    root = os.environ.get("COLLAPSE_DATA")
    path = Path(root, file) if root else None
    if path is None or not path.is_file():
        if url and os.environ.get("COLLAPSE_DOWNLOAD") == "1":
            return _download(name, url, wanted)
        if path:
            missing = f"must have {path}; got no such file; put the official file there"
        else:
            missing = f"must be read from a local mirror; set COLLAPSE_DATA to the folder with {file}"
        raise OSError(f"{name}: {missing}{', or set COLLAPSE_DOWNLOAD=1 to download it' if url else ''}.")
    if wanted:
        _check(name, path, wanted)
    return path


def digest(path: Path, kind: str = "sha256") -> str:
    """Return a file's digest, in hexadecimal: its SHA-256, or another kind that hashlib knows."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def _check(name: str, path: Path, wanted: str) -> None:
    kind, wanted = wanted.split(":")
    if (found := digest(path, kind)) != wanted:
        kind = {"sha256": "SHA-256", "md5": "MD5"}[kind]
        raise OSError(f"{name}: {path} must have the official {kind} {wanted}; got {found}; replace the file.")


def _download(name: str, url: str, wanted: str | None) -> Path:
    import pooch

    try:
        return Path(pooch.retrieve(url, known_hash=wanted, path=pooch.os_cache("collapse-utils"), progressbar=False))
    except Exception as error:  # no network, a changed file, a full disk: each in a class of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(
            f"{name}: {url} must be there and be the official file; got {reason!r}; try again, or set COLLAPSE_DATA to a mirror."
        ) from error
