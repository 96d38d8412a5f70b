"""Official files: found in the mirror, checked, downloaded only when asked; one clear sentence for each kind of trouble."""

import hashlib
import http.server
import threading

import pytest

from collapse_utils import mirror, tables as corpora
from collapse_utils.language import texts

CONTENT = b"once upon a time"
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("COLLAPSE_DOWNLOAD", raising=False)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def server(tmp_path):
    """The address of a server on this machine that publishes CONTENT, and the list of what was asked of it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "tale.txt").write_bytes(CONTENT)
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "site"))

        def log_request(self, *_):
            asked.append(self.path)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}/", asked
        httpd.shutdown()


@pytest.mark.parametrize("digest", [SHA256, MD5, None])
def test_a_file_in_the_mirror_is_found_and_checked(root, digest):
    (root / "tale.txt").write_bytes(CONTENT)
    assert mirror.fetch("tale", "tale.txt", digest) == root / "tale.txt"


@pytest.mark.parametrize(("digest", "kind"), [(SHA256, "SHA-256"), (MD5, "MD5")])
def test_a_damaged_file_is_refused_with_both_sums(root, digest, kind):
    (root / "tale.txt").write_bytes(CONTENT[:-1])
    with pytest.raises(
        OSError, match=rf"tale\.txt must have the official {kind} {digest.split(':')[1]}; got .*; replace the file"
    ):
        mirror.fetch("tale", "tale.txt", digest)


def test_a_missing_file_says_where_to_put_it(root, monkeypatch):
    with pytest.raises(OSError, match=r"tale\.txt; got no such file; put the official file there\.$"):
        mirror.fetch("tale", "tale.txt")
    with pytest.raises(OSError, match=r"put the official file there, or set COLLAPSE_DOWNLOAD=1 to download it\.$"):
        mirror.fetch("tale", "tale.txt", SHA256, "http://127.0.0.1:9/tale.txt")
    monkeypatch.delenv("COLLAPSE_DATA")
    for name in ("mnist", "cifar10"):
        with pytest.raises(
            OSError, match=f"{name}: must be read from a local mirror; set COLLAPSE_DATA to the folder with {name}/"
        ):
            corpora.load(name)
    with pytest.raises(
        OSError, match=r"set COLLAPSE_DATA to the folder with .*TinyStories-train\.txt, or set COLLAPSE_DOWNLOAD=1"
    ):
        texts.load("tinystories-full")


def test_a_download_is_asked_for_checked_and_kept(root, server, monkeypatch, tmp_path):
    url, asked = server
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path / "cache")
    monkeypatch.setenv("COLLAPSE_DOWNLOAD", "1")
    for _ in range(2):
        assert mirror.fetch("tale", "tale.txt", SHA256, url + "tale.txt").read_bytes() == CONTENT
    assert asked == ["/tale.txt"]  # the second time from the cache
    wrong = "sha256:" + "0" * 64
    with pytest.raises(OSError, match=r"tale: http.* must be there and be the official file; got .*hash.*; try again"):
        mirror.fetch("tale", "tale.txt", wrong, url + "tale.txt")
    with pytest.raises(OSError, match=r"tale: http.*got .*404"):
        mirror.fetch("tale", "none.txt", SHA256, url + "none.txt")
    (root / "tale.txt").write_bytes(CONTENT)  # the mirror comes first
    assert mirror.fetch("tale", "tale.txt", SHA256, url + "none.txt") == root / "tale.txt"
