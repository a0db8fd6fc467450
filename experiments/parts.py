"""Files in parts of at most 16 MB: an archive that small connections and repositories take.

``FILE.tar``, ``FILE-02.tar``, ... are plain tar files. Each begins with ``part.json``, which says
which pack it belongs to, how many parts there are, and of every member after it whose bytes it
holds, from where on, with SHA-256; ``part.sha256`` is that of ``part.json`` itself. Large files go
on in the next part. Nothing is unpacked by the names in the tar: each has to be one that the pack
may hold, and every part is looked at before anything is written.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from results.files import naming
from validation import check_integer

LARGEST_PART = 16_000_000
"""Bytes of a part."""
_FORMAT = "cleanroom pack 1"
_HEADER, _SUM = "part.json", "part.sha256"
_BLOCK = 512
_MOST_PARTS = 999
_SEGMENT_FIELDS = {"path": str, "size": int, "sum": str, "start": int, "bytes": int, "sha256": str}
_HEADER_FIELDS = {
    "format": str,
    "pack": str,
    "about": str,
    "part": int,
    "parts": int,
    "segments": list,
}


class DamagedPartError(ValueError):
    """A part of a pack is missing, damaged, or belongs to another pack."""


class _Segment(NamedTuple):
    """Bytes of a file that lie in one part."""

    path: str
    size: int
    sum: str
    start: int
    bytes: int
    sha256: str

    @property
    def member(self) -> str:
        whole = self.bytes == self.size
        return self.path if whole else f"{self.path}.from-{self.start}"


def part_path(file: Path, part: int) -> Path:
    """Where a part lies: the first under the name of the pack, the others numbered behind it."""
    return file if part == 1 else file.with_name(f"{file.stem}-{part:02d}{file.suffix}")


def check_pack_name(file: Path) -> None:
    """Raises a ValueError unless a pack may have this name."""
    if file.suffix != ".tar" or not file.stem:
        raise ValueError(
            f"Expected the name of a pack to end in .tar, received {str(file)!r}. Pass, say, "
            "models.tar."
        )


def write_parts(file: Path, folder: Path, about: str, largest: int = LARGEST_PART) -> list[Path]:
    """Writes every file of a folder into parts.

    Args:
        file: The first part; the others lie beside it.
        folder: What is packed, with the names that it has there.
        about: What the pack is of; whoever reads it has to ask for the same.
        largest: Bytes of a part.

    Returns:
        The parts.

    Raises:
        ValueError: If it would be too many parts.
    """
    check_pack_name(file)
    check_integer("bytes of a part", largest, at_least=64 * _BLOCK)
    dealt = _dealt(_files(folder), largest)
    if len(dealt) > _MOST_PARTS:
        raise ValueError(
            f"Expected at most {_MOST_PARTS} parts, received files for {len(dealt)}. Pack fewer."
        )
    pack = _name_of_pack(segment for part in dealt for segment in part)
    written: list[Path] = []
    # The first is the last to be written: a pack without it is none.
    for number, segments in reversed(list(enumerate(dealt, start=1))):
        header = {
            "format": _FORMAT,
            "pack": pack,
            "about": about,
            "part": number,
            "parts": len(dealt),
            "segments": [segment._asdict() for segment in segments],
        }
        path = part_path(file, number)
        _write_part(path, header, segments, folder)
        written.insert(0, path)
    _remove_former(file, len(dealt))
    return written


def read_parts(file: Path, folder: Path, about: str, allowed: re.Pattern[str]) -> None:
    """Writes the files of a pack into a folder, after all its parts were found to be whole.

    Args:
        file: The first part.
        folder: An empty folder. If anything is wrong, what is in it must not be used.
        about: What the pack has to be of.
        allowed: What the name of a file has to be like, with ``/`` between folders.

    Raises:
        DamagedPartError: If a part is missing or damaged, naming it.
        ValueError: If it is a pack of something else.
    """
    check_pack_name(file)
    first, _ = _read_part(file)
    if first["about"] != about:
        raise ValueError(
            f"Expected {file} to be a pack of {about}, received one of {first['about']}. Ask for "
            "that one."
        )
    paths = [part_path(file, number) for number in range(1, first["parts"] + 1)]
    headers = []
    for number, path in enumerate(paths, start=1):
        header, content = _read_part(path)
        if (header["pack"], header["part"], header["parts"]) != (
            first["pack"],
            number,
            len(paths),
        ):
            raise _damaged(path, "a part of another pack")
        headers.append(header)
        for segment, part in content.items():
            _write_segment(folder, segment, part, allowed, path)
    segments = [_Segment(**one) for header in headers for one in header["segments"]]
    if _name_of_pack(segments) != first["pack"]:
        raise _damaged(file, "a list of other files than were packed")
    for name, size, total in {(one.path, one.size, one.sum) for one in segments}:
        if (folder / name).stat().st_size != size or _hash(folder / name) != total:
            raise _damaged(file, f"parts of {name} that do not make the whole")


def _files(folder: Path) -> Iterator[_Segment]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size, total = path.stat().st_size, _hash(path)
        yield _Segment(path.relative_to(folder).as_posix(), size, total, 0, size, total)


def _dealt(files: Iterator[_Segment], largest: int) -> list[list[_Segment]]:
    """Which bytes of which file go into which part; the hashes of segments are added later."""
    parts: list[list[_Segment]] = [[]]
    # Of each part: the end of a tar, its sum, and room for rounding.
    room = free = largest - 24 * _BLOCK
    for file in files:
        start = 0
        while True:
            about = 2 * _BLOCK + len(json.dumps(file._asdict())) + 2 * len(file.path)
            if free < about + min(file.size - start, 16 * _BLOCK):
                parts.append([])
                free = room
            count = min(file.size - start, free - about)
            parts[-1].append(file._replace(start=start, bytes=count))
            free -= about + -(-count // _BLOCK) * _BLOCK
            start += count
            if start >= file.size:
                break
    return parts


def _write_part(
    path: Path, header: dict[str, Any], segments: Sequence[_Segment], folder: Path
) -> None:
    contents = []
    for number, segment in enumerate(segments):
        with (folder / segment.path).open("rb") as source:
            source.seek(segment.start)
            contents.append(source.read(segment.bytes))
        header["segments"][number]["sha256"] = hashlib.sha256(contents[-1]).hexdigest()
    text = json.dumps(header, indent=1, sort_keys=True).encode()
    names = [_HEADER, _SUM, *(segment.member for segment in segments)]
    total = hashlib.sha256(text).hexdigest().encode()
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".tar", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
                for member, content in zip(names, (text, total, *contents), strict=True):
                    described = tarfile.TarInfo(member)
                    described.size = len(content)
                    tar.addfile(described, io.BytesIO(content))
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _remove_former(file: Path, parts: int) -> None:
    """Removes the further parts of a larger pack of the same name."""
    for number in range(parts + 1, _MOST_PARTS + 1):
        path = part_path(file, number)
        try:
            with tarfile.open(path, "r:") as tar:
                first = tar.next()
        except (OSError, tarfile.TarError):
            return
        if first is None or first.name != _HEADER:
            return
        path.unlink()


def _read_part(path: Path) -> tuple[dict[str, Any], dict[_Segment, bytes]]:
    """The header of a part, and the bytes of each of its segments, all of them checked."""
    if not path.is_file():
        raise DamagedPartError(
            f"Expected the part {path}, received no file. Copy all parts into one folder."
        )
    if path.stat().st_size > 2 * LARGEST_PART:
        raise _damaged(path, f"{path.stat().st_size:,} bytes")
    try:
        contents = _members(path.read_bytes())
        text = contents.pop(_HEADER)
        if hashlib.sha256(text).hexdigest().encode() != contents.pop(_SUM):
            raise ValueError(f"another {_HEADER} than was written")
        header = json.loads(text)
        _check_fields(header, _HEADER_FIELDS)
        for one in header["segments"]:
            _check_fields(one, _SEGMENT_FIELDS)
        segments = [_Segment(**one) for one in header["segments"]]
        if header["format"] != _FORMAT or not 1 <= header["parts"] <= _MOST_PARTS:
            raise ValueError(f"the format {header['format']!r}")
        if [segment.member for segment in segments] != list(contents):
            raise ValueError("other members than it lists")
    except (tarfile.TarError, EOFError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    found = {segment: contents[segment.member] for segment in segments}
    for segment, content in found.items():
        if len(content) != segment.bytes or hashlib.sha256(content).hexdigest() != segment.sha256:
            raise _damaged(path, f"other bytes of {segment.path} than were packed")
    return header, found


def _members(content: bytes) -> dict[str, bytes]:
    """The members of an uncompressed tar, which have to be plain files of different names."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if file is None or member.name in found:
                raise ValueError(f"the member {member.name!r}, which is no file of its own")
            found[member.name] = file.read()
    return found


def _write_segment(
    folder: Path, segment: _Segment, content: bytes, allowed: re.Pattern[str], part: Path
) -> None:
    """Adds bytes to a file; those of a file come in order."""
    if not allowed.fullmatch(segment.path):
        raise _damaged(part, f"the file {segment.path!r}, which no pack holds")
    path = folder / segment.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if file.tell() != segment.start:
            raise _damaged(part, f"bytes of {segment.path} that do not go on where it ended")
        file.write(content)


def _check_fields(content: Any, fields: Mapping[str, type]) -> None:
    if not isinstance(content, dict) or {k: type(v) for k, v in content.items()} != fields:
        raise ValueError(f"{_HEADER} of another form")


def _name_of_pack(segments: Iterator[_Segment] | Sequence[_Segment]) -> str:
    """What tells a pack from others: a hash over the sums of all its files."""
    listed = sorted({(one.path, one.size, one.sum) for one in segments})
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path, received: str) -> DamagedPartError:
    return DamagedPartError(
        f"Expected {path} to be a whole part of a pack, received {received}. Copy it again from "
        "where it was packed, or pack again."
    )
