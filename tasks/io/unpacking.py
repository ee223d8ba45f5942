"""Unpacks a zip that may be a stranger's: only files that its own description names, only as large as it says, and never a bomb."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from tasks.core.errors import IntegrityError, UnavailableError

RATIO = 100  # a zip may unpack to so many times its own size; tables and models of a bundle are packed already
SLACK = 1 << 20  # and to so many bytes more
CHUNK = 1 << 20

_AGAIN = "Do not open it by other means; have the bundle made again."


def unpack(path: Path, folder: Path, description: str, most: int, sizes: Callable[[bytes], Mapping[str, int]]) -> None:
    """Unpack a zip into an empty folder.

    description: the file that names the others; at most `most` bytes of it are read. sizes: reads it, and gives the bytes of every
    other file by its name, whose names are safe below `folder`.

    Raises: IntegrityError for a file that is not named, that is named twice, is a link, encrypted, or of another size; for more than
    RATIO times the zip's size; and for what is no whole zip. UnavailableError where the disk is too small.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            members = {member.filename: member for member in packed.infolist()}
            if len(members) < len(packed.infolist()):
                raise IntegrityError("two files have the same name.", where=str(path), fix=_AGAIN)
            if description not in members:
                raise IntegrityError(f"has no {description} at its top: it is not a bundle, or not a whole one.", where=str(path), fix=_AGAIN)
            expected = {**sizes(_member(packed, members[description], most)), description: members[description].file_size}
            folders = {f"{parent.as_posix()}/" for name in expected for parent in Path(name).parents}
            for name, member in members.items():
                if name not in expected and not (member.is_dir() and name in folders):
                    raise IntegrityError(f"holds {name[:200]!r}, which {description} does not name.", where=str(path), fix=_AGAIN)
                if name in expected and member.file_size != expected[name]:
                    raise IntegrityError(f"{name!r} is {member.file_size:,} bytes long, and was {expected[name]:,}.", where=str(path), fix=_AGAIN)
            total, size = sum(expected.values()), path.stat().st_size
            if total > RATIO * size + SLACK:
                raise IntegrityError(f"would unpack from {size:,} bytes to {total:,}: that is not a bundle's.", where=str(path), fix=_AGAIN)
            if total > shutil.disk_usage(folder).free:
                raise UnavailableError(f"needs {total:,} bytes to be unpacked.", where=str(folder), fix="Free some space on that disk, or set TMPDIR.")
            for name in expected.keys() & members.keys():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(_member(packed, members[name], expected[name]))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise IntegrityError(f"is not a whole zip file ({error}).", where=str(path), fix=_AGAIN) from error
    except OSError as error:
        raise UnavailableError(f"cannot be unpacked: {error.strerror or error}.", where=str(path), fix="Check the file, and the space on the disk.") from error


def _member(packed: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """A file's bytes. Raises: IntegrityError as soon as there are more than `most`, whatever its header says."""
    if stat.S_ISLNK(member.external_attr >> 16) or member.flag_bits & 1:
        raise IntegrityError(f"{member.filename!r} is a link or encrypted.", where=str(packed.filename), fix=_AGAIN)
    chunks, total = [], 0
    with packed.open(member) as stream:
        while chunk := stream.read(CHUNK):
            total += len(chunk)
            if total > most:
                raise IntegrityError(f"{member.filename!r} is larger than it says.", where=str(packed.filename), fix=_AGAIN)
            chunks.append(chunk)
    return b"".join(chunks)
