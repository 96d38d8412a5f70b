"""Official data files: in the local mirror $COLLAPSE_DATA, or downloaded where COLLAPSE_DOWNLOAD=1 asks for it; each checked."""

import os
from pathlib import Path


def fetch(name: str, file: str, digest: str | None = None, url: str | None = None) -> Path:
    """Return the path of a data set's file, checked against its digest ("sha256:…" or "md5:…"; None: not checked).

    file: where it lies below $COLLAPSE_DATA. Where it is not there, and COLLAPSE_DOWNLOAD=1, it is downloaded once from
    the official `url` into the user's cache (pooch). Raises OSError, in one sentence, for a file that is missing, damaged,
    or cannot be downloaded.
    """
    root = os.environ.get("COLLAPSE_DATA")
    path = Path(root, file) if root else None
    if path is None or not path.is_file():
        if url and os.environ.get("COLLAPSE_DOWNLOAD") == "1":
            return _download(name, url, digest)
        offer = " or COLLAPSE_DOWNLOAD=1 to download it" if url else ""
        if path is None:
            raise OSError(f"{name}: must be read from a local mirror; set COLLAPSE_DATA to the folder with {file}{offer}.")
        raise OSError(
            f"{name}: must have {path}; got no such file; put the official file there{', or set' + offer[3:] if offer else ''}."
        )
    if digest:
        _check(name, path, digest)
    return path


def _check(name: str, path: Path, digest: str) -> None:
    from pooch import file_hash

    kind, wanted = digest.split(":")
    if (found := file_hash(str(path), alg=kind)) != wanted:
        kind = {"sha256": "SHA-256", "md5": "MD5"}[kind]
        raise OSError(f"{name}: {path} must have the official {kind} {wanted}; got {found}; replace the file.")


def _download(name: str, url: str, digest: str | None) -> Path:
    import pooch

    try:
        return Path(pooch.retrieve(url, known_hash=digest, path=pooch.os_cache("collapse-utils"), progressbar=False))
    except Exception as error:  # no network, a changed file, a full disk: each in a class of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(
            f"{name}: {url} must be there and be the official file; got {reason!r}; try again, or set COLLAPSE_DATA to a mirror."
        ) from error
