"""The image files that people name: which there are, and what each of them holds."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from hoiclip.errors import InputError
from hoiclip.images.store import Limits, Size, decode_reduced, read_file, suffixes
from hoiclip.printable import printable

_NAMES_SHOWN = 3
_PICTURE = re.compile(r"[0-9]{5,}-.*\.jpg", re.DOTALL)
_LONGEST_STEM = 200  # bytes; file systems take names of 255


@dataclass(frozen=True)
class Found:
    """What files and folders hold.

    Attributes:
        images: to be read, each once.
        passed_over: in folders, files whose suffix is of no image that can be read, and links to
            folders.
        errors: one for each folder or file that cannot be looked at.
    """

    images: list[Path] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)

    def passed_over_text(self) -> str:
        """One line: how many files were passed over, of which suffixes, and the first names."""
        counts = Counter(_kind(path) for path in self.passed_over)
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items()))
        names = ", ".join(path.name for path in self.passed_over[:_NAMES_SHOWN])
        more = ", ..." if len(self.passed_over) > _NAMES_SHOWN else ""
        number = len(self.passed_over)
        were = "1 file was" if number == 1 else f"{number} files were"
        return f"{were} passed over ({kinds}): {names}{more}"


def find_images(paths: Sequence[Path], results: Sequence[Path] = ()) -> Found:
    """Files as given, and the images in folders (at any depth, by name); each once, in order.

    Args:
        paths: files, whatever their suffix, and folders.
        results: files and folders that an earlier run wrote, which are not looked at.

    Raises:
        InputError: a path does not exist, or there is no image at all.
    """
    found, seen = Found(), set()
    for path in paths:
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(path, "no such file or folder") from None
        except OSError as error:
            found.errors.append(_unreadable(path, error))
            continue
        inside = [path]
        if os.path.isdir(path):
            inside = sorted(_entries(path, found.errors, results))
        for file in inside:
            if file not in seen:
                seen.add(file)
                wanted = file == path or _kind(file) in suffixes()
                (found.images if wanted else found.passed_over).append(file)
    if not found.images and not found.errors:
        fix = f"Looked for {', '.join(sorted(suffixes()))}"
        said = f" ({found.passed_over_text()})" if found.passed_over else ""
        raise InputError(paths[0], f"no image in it{said}", fix=fix)
    return found


def read_image_file(
    path: Path, limits: Limits, least: Callable[[Size], Size]
) -> tuple[Image.Image, Size]:
    """The photo in a file, perhaps at a part of its size, and its full size.

    Args:
        path: the file.
        limits: of the file.
        least: full size → size that is needed, see `hoiclip.images.store.decode_reduced`.

    Raises:
        InputError: it cannot be read, whatever the reason.
    """
    try:
        data = read_file(path, limits)
    except OSError as error:
        raise _unreadable(path, error) from None
    return decode_reduced(data, str(path), limits, least)


def text_of(path: Path) -> str:
    """The absolute path as text that can be written; bytes that are not UTF-8 become escapes."""
    return os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")


def picture_name(number: int, path: Path) -> str:
    """File name of the picture of the image `number`; no two are equal."""
    stem = re.sub(r"[\\/]", "_", printable(path.stem))
    return f"{number:05d}-{stem.encode()[:_LONGEST_STEM].decode(errors='ignore')}.jpg"


def earlier_results(out: Path, *, pictures: bool) -> list[Path]:
    """What a run that wrote into the folder `out` left there.

    Args:
        out: need not be there.
        pictures: whether the folder of the pictures is going to be replaced.

    Raises:
        InputError: it would be replaced, and holds what no run wrote.
    """
    results, folder = [out / "predictions.json", out / "predictions.parquet"], out / "pictures"
    if folder.is_dir():
        strange = [e.name for e in folder.iterdir() if not _PICTURE.fullmatch(e.name)]
        if not strange:
            return [*results, folder]
        if pictures:
            problem = f"holds {min(strange)!r}, and would be replaced by the folder of the pictures"
            raise InputError(folder, problem, fix="Give another --out, or --no-pictures")
    return results


def _entries(folder: Path, errors: list[InputError], results: Sequence[Path]) -> Iterator[Path]:
    """Every file under `folder`, and every link to a folder, which may lead anywhere."""
    ours = {os.path.realpath(path) for path in results}

    def told(error: OSError) -> None:
        errors.append(_unreadable(error.filename, error))

    for root, folders, names in os.walk(folder, onerror=told):
        if os.path.realpath(root) in ours:
            folders.clear()
            continue
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for path in (Path(root, name) for name in [*names, *links]):
            if os.path.realpath(path) not in ours:
                yield path


def _kind(path: Path) -> str:
    if path.is_symlink() and os.path.isdir(path):
        return "linked folder"
    return path.suffix.lower() or "no suffix"


def _unreadable(path: str | Path, error: OSError) -> InputError:
    return InputError(path, f"cannot be read ({error.strerror})")
