"""A CSV file of path,label, with an optional column split: paths are relative to the file's folder and stay inside."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath

from striate.data.arrays import sort_names
from striate.data.files import FileList, SplitName
from striate.data.folder import SPLIT_NAMES
from striate.data.names import printable
from striate.errors import DataError, nearest

__all__ = ["read_table"]

_PATH_COLUMNS = ("path", "file", "file_name", "filename", "image")
_LABEL_COLUMNS = ("label", "class", "class_name", "target")
_SPLIT_COLUMNS = ("split", "set", "subset")


def read_table(path: Path, *, class_names: Sequence[str] | None = None) -> FileList:
    """Read a CSV file with a header.

    Args:
        path: The file; commas, semicolons or tabs between the columns, UTF-8 with or without a byte order mark.
        class_names: The classes of a trained network; None to take the labels of the training rows.

    Returns:
        The images, which all exist and lie below the CSV file's folder.

    Raises:
        DataError: A column is missing, or a row cannot be used; the message names the row as a spreadsheet counts it.
    """
    seen: dict[str, int] = {}
    labels: list[str] = []
    splits: list[SplitName] = []
    given: set[SplitName] = set()
    check = _PathCheck(path)
    for row, image, label, split in _rows(path):
        image = check(image, row=row)
        if image in seen:
            raise _error(
                path, row, f"names {printable(image)}, which row {seen[image]} names too", "Remove one of them."
            )
        if not label or label.lower() == "nan":
            what = f"has the label {label}" if label else "has no label"
            raise _error(path, row, what, "Fill it in, or remove the row.")
        known = SPLIT_NAMES.get(split.lower()) if split is not None else "train"
        if known is None:
            raise _error(path, row, f"has the split {printable(split or '')!r}", "Use train, val or test.")
        if split is not None:
            given.add(known)
        seen[image] = row
        labels.append(label)
        splits.append(known)
    names = _class_names(path, labels, splits) if class_names is None else tuple(class_names)
    if strange := sorted(set(labels) - set(names)):
        known_by = "train has" if class_names is None else "the network knows"
        raise DataError(
            f"load: {path} must have no label but those that {known_by}, got {', '.join(strange[:10])}; {known_by} "
            f"{', '.join(names[:10])}. Correct the labels or the column split."
        )
    number = {name: index for index, name in enumerate(names)}
    return FileList(
        root=path.parent,
        paths=tuple(seen),
        labels=tuple(number[label] for label in labels),
        splits=tuple(splits),
        given=frozenset(given),
        class_names=names,
        noun="CSV file",
    )


def _rows(path: Path) -> Iterator[tuple[int, str, str, str | None]]:
    """Yield row number, path, label and split of each row that is not blank."""
    try:
        # Names that are not UTF-8 come through as the system's own names do.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            header_line = stream.readline()
            if "\0" in header_line:
                raise DataError(f"load: {path} must be a text file, got one with zero bytes. Save it as CSV in UTF-8.")
            delimiter = max(",;\t", key=header_line.count)
            header = [cell.strip().lower() for cell in next(csv.reader([header_line], delimiter=delimiter), [])]
            path_column, label_column = (_find_column(path, header, names) for names in (_PATH_COLUMNS, _LABEL_COLUMNS))
            has_split = any(cell in _SPLIT_COLUMNS for cell in header)
            split_column = _find_column(path, header, _SPLIT_COLUMNS) if has_split else None
            reader = csv.reader(stream, delimiter=delimiter)
            for cells in reader:
                row = reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    fix = "Put a path that holds a comma in quotes."
                    raise _error(path, row, f"has {len(cells)} cells and the header has {len(header)}", fix)
                split = None if split_column is None else cells[split_column].strip()
                yield row, cells[path_column].strip(), cells[label_column].strip(), split
    except csv.Error as error:
        fix = "Save the file again as CSV in UTF-8."
        raise _error(path, reader.line_num + 1, f"is not CSV ({error})", fix) from error
    except OSError as error:
        raise DataError(f"load: {path} must be readable: {error.strerror}. Check its permissions.") from error


def _find_column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    found = [index for index, cell in enumerate(header) if cell in names]
    if len(found) > 1:
        raise DataError(
            f"load: {path} must have one column of {', '.join(names)}, got {len(found)}. Rename the others in row 1."
        )
    if not found:
        close = "".join(nearest(cell, names) for cell in header[:1]) if len(header) > 1 else ""
        raise DataError(
            f"load: {path} must have a column `{names[0]}` (or {', '.join(names[1:])}) in its first row, got "
            f"{printable(', '.join(header))[:200] or 'an empty row'}.{close} The first row should read: path,label"
        )
    return found[0]


class _PathCheck:
    """Refuses paths that lead out of the CSV file's folder, or to nothing."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._root = table.parent.resolve()
        # Images share folders: each folder is resolved once.
        self._resolve = functools.lru_cache(maxsize=4096)(Path.resolve)

    def __call__(self, image: str, *, row: int) -> str:
        shown, below = printable(image), f"Write paths relative to {self._table.parent}."
        if not image:
            raise _error(self._table, row, "has no path", "Fill it in, or remove the row.")
        if "\0" in image:
            raise _error(self._table, row, f"has a zero byte in its path {shown}", "Correct the path.")
        if Path(image).is_absolute() or PureWindowsPath(image).is_absolute():
            raise _error(self._table, row, f"has the absolute path {shown}", below)
        if ".." in image.replace("\\", "/").split("/"):
            fix = "Move the images below it, and write paths without `..`."
            raise _error(self._table, row, f"has the path {shown}, which leaves the CSV file's folder", fix)
        full = self._root / image
        target = full.resolve() if full.is_symlink() else self._resolve(full.parent) / full.name
        if not target.is_relative_to(self._root):
            fix = "Copy the image below it."
            raise _error(self._table, row, f"has the path {shown}, a link that leaves the CSV file's folder", fix)
        if not target.is_file():
            raise _error(self._table, row, f"names {shown}, which does not exist", below)
        return str(Path(image))


def _class_names(path: Path, labels: list[str], splits: list[SplitName]) -> tuple[str, ...]:
    """Take the classes from the training rows."""
    train = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    if not train:
        raise DataError(
            f"load: {path} must have rows to train on, got {len(labels):,} rows and none of them for train. "
            "Add rows, or correct the column split."
        )
    return sort_names(train)


def _error(path: Path, row: int, what: str, fix: str) -> DataError:
    return DataError(f"load: row {row} of {path} {what}. {fix}")
