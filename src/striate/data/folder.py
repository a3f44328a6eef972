"""A folder of class folders, with or without train, val and test folders above them."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from striate.data.files import FileList, SplitName
from striate.data.names import printable
from striate.data.sniff import EXTENSIONS, SNIFF_BYTES, is_image
from striate.errors import DataError

__all__ = ["LAYOUT", "SPLIT_NAMES", "find_images", "scan_folder"]

SPLIT_NAMES: Final[dict[str, SplitName]] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
LAYOUT = "FOLDER/cats/1.jpg FOLDER/dogs/2.jpg ..., or FOLDER/train/cats/1.jpg FOLDER/val/cats/2.jpg ..."

# What file managers and archivers leave behind.
_JUNK = frozenset(["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"])


@dataclasses.dataclass(kw_only=True)
class _Scan:
    """What one walk has seen."""

    ignored: int = 0


def scan_folder(root: Path, *, class_names: Sequence[str] | None = None) -> FileList:
    """List the images of a folder by class and split. Nothing is decoded, and nothing is written.

    The folders below `root` are the classes, unless one of them is called ``train`` and holds folders: then `root`
    holds splits. Classes are sorted by name; a class folder may have folders of its own. Links are followed.

    Args:
        root: The folder.
        class_names: The classes of a trained network; None to take the folders of the training data.

    Raises:
        DataError: There are no class folders, one is empty, or val or test has a class that train has not.
    """
    scan = _Scan()
    splits = _split_folders(root, scan, needs_train=class_names is None)
    by_split = {split: _read_classes(folder, scan) for split, folder in splits.items()}
    if not splits:
        by_split = {"train": _read_classes(root, scan)}
    folders = splits or {"train": root}
    if not any(by_split.values()):
        raise _no_classes(next(iter(folders.values())), scan)
    if class_names is None:
        _check_train(by_split["train"], folder=folders["train"])
    # Folder names as the system gave them; the network's names are printable.
    names = tuple(by_split["train"]) if class_names is None else tuple(class_names)
    number = {printable(name): index for index, name in enumerate(names)}
    files: list[tuple[str, int, SplitName]] = []
    for split, found in by_split.items():
        if strange := [name for name in found if printable(name) not in number and found[name]]:
            known_by = "`train` has" if class_names is None else "the network knows"
            raise DataError(
                f"load: `{split}` must have no class but those that {known_by}, got {_quoted(strange)} in "
                f"{folders[split]}. {known_by.replace('`', '')} {_quoted(names)}; {split} has {_quoted(tuple(found))}. "
                "Rename or add folders so that both agree."
            )
        files += [(path, number[printable(name)], split) for name in found for path in found[name]]
    prefix = len(os.fspath(root / "_")) - 1
    return FileList(
        root=root,
        paths=tuple(path[prefix:] for path, _, _ in files),
        labels=tuple(label for _, label, _ in files),
        splits=tuple(split for _, _, split in files),
        given=frozenset(splits),
        class_names=names,
        ignored=scan.ignored,
    )


def _check_train(classes: Mapping[str, Sequence[str]], *, folder: Path) -> None:
    """Refuse training data with fewer than two classes, or with a class without images."""
    if len(classes) == 1:
        raise _one_class(folder, next(iter(classes)))
    if empty := [name for name, paths in classes.items() if not paths]:
        raise DataError(
            f"load: each class folder must hold images, but {_quoted(empty)} in {folder} holds none. "
            "Add images to it, or remove it."
        )


def find_images(source: str | os.PathLike[str]) -> list[Path]:
    """Expand a file, a folder or a pattern with ``*`` to image files, in order.

    Args:
        source: A file (taken whatever it is), a folder (searched to the bottom), or a pattern.

    Raises:
        DataError: There is nothing, or a folder without images.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = [Path(item) for item in _images_below(path, _Scan())]
        if not found:
            raise DataError(
                f"predict: `images` must name at least one image, got the folder {printable(str(path))} without any. "
                "Check the folder."
            )
        return found
    # A file whose name happens to hold brackets is a file, not a pattern.
    if path.exists() or path.is_symlink():
        return [path]
    matches = sorted(Path(item) for item in glob.glob(str(path), recursive=True))  # noqa: PTH207  absolute patterns
    if not matches:
        raise DataError(
            f"predict: `images` must exist, got {printable(os.fsdecode(source))}, where nothing is. Check the path."
        )
    return [image for match in matches for image in (find_images(match) if match.is_dir() else [match])]


def _split_folders(root: Path, scan: _Scan, *, needs_train: bool) -> dict[SplitName, Path]:
    """Find train, val and test folders; none where `train` is a class, say of vehicles."""
    folders: dict[SplitName, Path] = {}
    for entry in _entries(root, _Scan()):
        split = SPLIT_NAMES.get(entry.name.lower())
        if split is None or not entry.is_dir():
            continue
        if split in folders:
            raise DataError(
                f"load: a folder must have one folder for each split, got both {folders[split].name} and {entry.name} "
                f"in {root}. Join or rename them."
            )
        folders[split] = Path(entry.path)
    if not any(_has_folders(folder) for folder in folders.values()):
        return {}
    if "train" not in folders and needs_train:
        raise DataError(
            f"load: a folder with splits must have a `train` folder, got only {_quoted(list(folders))} in {root}. "
            f"Expected: {LAYOUT}"
        )
    # Folders beside the splits ("annotations") are not images of this data set.
    scan.ignored += sum(entry.name.lower() not in SPLIT_NAMES for entry in _entries(root, scan))
    return {split: folders[split] for split in ("train", "val", "test") if split in folders}


def _has_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in _entries(folder, _Scan()))


def _read_classes(folder: Path, scan: _Scan) -> dict[str, list[str]]:
    """Map each class folder to its images; images that lie beside the class folders are ignored and counted."""
    classes = {}
    for entry in _entries(folder, scan):
        if entry.is_dir():
            classes[entry.name] = list(_images_below(entry.path, scan))
        else:
            scan.ignored += 1
    return classes


def _images_below(folder: str | Path, scan: _Scan, *, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    status = Path(folder).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:  # a link that leads back to a folder it lies in
        return
    for entry in _entries(folder, scan):
        if entry.is_dir():
            yield from _images_below(entry.path, scan, above=above | {identity})
        elif _looks_like_image(entry):
            yield entry.path
        else:
            scan.ignored += 1


def _looks_like_image(entry: os.DirEntry[str]) -> bool:
    """Judge by extension, and where that says nothing by content; decoding judges again, by content alone."""
    dot, extension = entry.name.rpartition(".")[1:]
    if dot + extension.lower() in EXTENSIONS:
        return True
    if not entry.is_file():
        return False
    try:
        with Path(entry.path).open("rb") as stream:
            return is_image(stream.read(SNIFF_BYTES))
    except OSError:
        return False


def _entries(folder: str | Path, scan: _Scan) -> list[os.DirEntry[str]]:
    """List a folder in a fixed order, without hidden files and junk, which are counted."""
    try:
        with os.scandir(folder) as iterator:
            entries = sorted(iterator, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise DataError(
            f"load: {printable(str(folder))} must be a folder that can be read: {error.strerror}. "
            "Check its permissions."
        ) from error
    kept = [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _JUNK]
    scan.ignored += len(entries) - len(kept)
    return kept


def _no_classes(folder: Path, scan: _Scan) -> DataError:
    images = sum(1 for entry in _entries(folder, _Scan()) if _looks_like_image(entry))
    holds = f"{images:,} images" if images else ("no images" if scan.ignored else "nothing")
    return DataError(
        f"load: a folder must hold one folder for each class, but {folder} holds {holds} and no folders. "
        f"Expected: {LAYOUT} For images without class folders, give a CSV with the columns path,label."
    )


def _one_class(folder: Path, name: str) -> DataError:
    inner = [entry.name for entry in _entries(folder / name, _Scan()) if entry.is_dir()]
    # Archives often unpack to a folder in a folder.
    hint = f" Did you mean {printable(str(folder / name))}, which holds {_quoted(inner)}?" if inner else ""
    return DataError(
        f"load: there must be at least 2 classes to tell apart, but {folder} holds only the folder "
        f"`{printable(name)}`.{hint} Expected: {LAYOUT}"
    )


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{printable(name)}`" for name in names[:10])
    return shown + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")
