"""Nothing outside the folder is ever read or removed, whatever was planted in it; with openat2 and without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.adopt.beneath import Beneath, written_to
from edge.errors import CallwardenError

SECRET = b"RIFF secret outside"


@pytest.fixture(params=[True, False], ids=["openat2", "step by step"])
def beneath(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Beneath]:
    root = tmp_path / "monitor"
    (root / "2024" / "01").mkdir(parents=True)
    (root / "2024" / "01" / "in.wav").write_bytes(b"sound")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.wav").write_bytes(SECRET)
    with Beneath(str(root), openat2=request.param) as one:
        yield one


def read(beneath: Beneath, path: str, largest: int = 1 << 20) -> bytes:
    with beneath.open(path, largest=largest) as file:
        return os.read(file.fd, 100)


def refused(beneath: Beneath, path: str, word: str, largest: int = 1 << 20) -> None:
    with pytest.raises(CallwardenError, match=word) as error:
        read(beneath, path, largest)
    assert error.value.code == "adopt.file"


def test_a_file(beneath: Beneath) -> None:
    assert [f.path for f in beneath.walk()] == ["2024/01/in.wav"]
    assert read(beneath, "2024/01/in.wav") == b"sound"


@pytest.mark.parametrize(
    "path",
    ["../outside/secret.wav", "2024/../../outside/secret.wav", "/etc/passwd", "", ".", "a//b", "2024/./01/in.wav"],
)
def test_paths_that_lead_out(beneath: Beneath, path: str) -> None:
    refused(beneath, path, "leads out|No such")


def test_links_of_every_kind(beneath: Beneath, tmp_path: Path) -> None:
    root = Path(beneath.root)
    (root / "file.wav").symlink_to(tmp_path / "outside" / "secret.wav")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "inside.wav").symlink_to("2024/01/in.wav")
    (root / "proc.wav").symlink_to("/proc/self/fd/0")
    for path in ("file.wav", "folder/secret.wav", "inside.wav", "proc.wav"):
        refused(beneath, path, "leads out|No such|Not a directory")
    os.link(tmp_path / "outside" / "secret.wav", root / "hard.wav")
    refused(beneath, "hard.wav", "2 names")
    found = {f.path: f.why for f in beneath.walk()}
    assert found["folder"] == found["file.wav"] == "it is a symbolic link"
    assert not any(path.startswith("folder/") for path in found)


def test_what_is_no_file(beneath: Beneath) -> None:
    root = Path(beneath.root)
    os.mkfifo(root / "pipe.wav")
    refused(beneath, "pipe.wav", "no regular file")  # and does not wait for a writer
    refused(beneath, "2024", "no regular file")
    assert {f.path: f.why for f in beneath.walk()}["pipe.wav"] == "it is no regular file"


def test_a_huge_sparse_file(beneath: Beneath) -> None:
    with (Path(beneath.root) / "huge.wav").open("wb") as file:
        file.truncate(1 << 40)
    refused(beneath, "huge.wav", "larger than", largest=2 << 30)


def test_a_deep_tree_is_walked_to_a_bound(beneath: Beneath) -> None:
    deep = Path(beneath.root).joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "x.wav").write_bytes(b"x")
    found = list(beneath.walk())
    assert not any(f.path.endswith("x.wav") for f in found)
    assert any("deep" in f.why for f in found)


def test_a_folder_swapped_for_a_link_after_the_walk(beneath: Beneath, tmp_path: Path) -> None:
    """Who can write there swaps a folder between look and act: neither reads nor removes what is outside."""
    root = Path(beneath.root)
    with beneath.open("2024/01/in.wav", largest=100) as file:
        mark = file.mark
    (root / "2024").rename(root / "moved")
    (root / "2024").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "01").mkdir()
    (tmp_path / "outside" / "01" / "in.wav").write_bytes(SECRET)
    refused(beneath, "2024/01/in.wav", "leads out|Not a directory")
    with pytest.raises(CallwardenError) as error:
        beneath.unlink("2024/01/in.wav", mark)
    assert error.value.code == "adopt.remove"
    assert (tmp_path / "outside" / "01" / "in.wav").read_bytes() == SECRET


def test_only_the_file_that_was_read_is_removed(beneath: Beneath) -> None:
    path = Path(beneath.root) / "2024" / "01" / "in.wav"
    with beneath.open("2024/01/in.wav", largest=100) as file:
        mark = file.mark
    path.unlink()
    path.write_bytes(b"other")
    with pytest.raises(CallwardenError) as error:
        beneath.unlink("2024/01/in.wav", mark)
    assert error.value.code == "adopt.changed"
    with beneath.open("2024/01/in.wav", largest=100) as file:
        mark = file.mark
    beneath.unlink("2024/01/in.wav", mark)
    assert not path.exists()
    assert not beneath.there("2024/01/in.wav")


def test_the_folder_itself_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(CallwardenError) as error:
        Beneath(str(tmp_path / "link"))
    assert error.value.code == "adopt.folder"


def test_a_file_that_somebody_writes_to(beneath: Beneath) -> None:
    path = Path(beneath.root) / "2024" / "01" / "in.wav"
    with path.open("ab"), beneath.open("2024/01/in.wav", largest=100) as file:
        assert written_to(file.fd)
    with beneath.open("2024/01/in.wav", largest=100) as file:
        assert written_to(file.fd) is False
