"""CSV files of path,label: what is read, and what is refused with its row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from striate.data.table import read_table
from striate.errors import DataError

MakeImages = Callable[..., list[Path]]


@pytest.fixture
def folder(tmp_path: Path, make_images: MakeImages) -> Path:
    """Four images in two folders, and one outside."""
    make_images(tmp_path / "data" / "img", 3)
    make_images(tmp_path / "data" / "more", 1)
    make_images(tmp_path / "outside", 1)
    return tmp_path / "data"


def write(folder: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


ROWS = "img/000.png,cat\nimg/001.png,dog\nmore/000.png,cat\n"


@pytest.mark.parametrize("path", ["path", "file", "file_name", "filename", "image", "Path", " image "])
@pytest.mark.parametrize("label", ["label", "class", "LABEL"])
def test_headers_people_use(folder: Path, path: str, label: str):
    files = read_table(write(folder, f"{path},{label}\n{ROWS}"))
    assert files.root == folder
    assert files.paths == ("img/000.png", "img/001.png", "more/000.png")
    assert files.labels == (0, 1, 0)
    assert files.class_names == ("cat", "dog")
    assert files.given == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,label\n" + ROWS.encode(),
        b"path,label\r\n" + ROWS.replace("\n", "\r\n").encode(),
        b"path;label\n" + ROWS.replace(",", ";").encode(),
        b"path\tlabel\n" + ROWS.replace(",", "\t").encode(),
        b'path,label\n"img/000.png","cat"\nimg/001.png, dog\n\n,,\nmore/000.png,cat'.replace(b",,\n", b",\n"),
        b"label,id,path\n" + b"".join(b"%s,1,%s\n" % tuple(reversed(r.split(b","))) for r in ROWS.encode().split()),
    ],
    ids=["byte order mark", "CRLF", "semicolon", "tab", "quotes and blank rows", "other columns"],
)
def test_dialects_people_have(folder: Path, text: bytes):
    files = read_table(write(folder, text))
    assert files.paths == ("img/000.png", "img/001.png", "more/000.png")
    assert files.labels == (0, 1, 0)


def test_the_column_split_is_kept(folder: Path):
    text = "path,label,split\nimg/000.png,a,train\nimg/001.png,b,Train\nimg/002.png,a,valid\nmore/000.png,b,test\n"
    files = read_table(write(folder, text))
    assert files.splits == ("train", "train", "val", "test")
    assert files.given == {"train", "val", "test"}


def test_labels_that_are_numbers_are_ordered_as_numbers(folder: Path):
    files = read_table(write(folder, "path,label\nimg/000.png,10\nimg/001.png,9\n"))
    assert files.class_names == ("9", "10")


def test_paths_are_cleaned_so_that_duplicates_are_seen(folder: Path):
    with pytest.raises(DataError, match=r"row 3 of .*labels\.csv names img/000\.png, which row 2 names too\. Remove"):
        read_table(write(folder, "path,label\nimg/000.png,a\n./img//000.png,b\n"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../outside/000.png,a", r"has the path \.\./outside/000\.png, which leaves the CSV file's folder"),
        ("img/../../outside/000.png,a", r".*which leaves the CSV file's folder"),
        ("img\\..\\x.png,a", r".*which leaves the CSV file's folder"),
        ("/etc/passwd,a", r"has the absolute path /etc/passwd\. Write paths relative to"),
        ("C:\\x.png,a", "has the absolute path"),
        ("img/missing.png,a", r"names img/missing\.png, which does not exist\. Write paths relative to"),
        ("img,a", "names img, which does not exist"),
        (",a", "has no path"),
        ("img/001.png,", "has no label"),
        ("img/001.png,  ", "has no label"),
        ("img/001.png,NaN", "has the label NaN"),
        ("img/001.png", "has 1 cells and the header has 2"),
        ("img/001.png,a,b", "has 3 cells and the header has 2.*comma in quotes"),
        ("img/0\x0001.png,a", "has a zero byte in its path"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(folder: Path, row: str, message: str):
    with pytest.raises(DataError, match=rf"load: row 3 of .*labels\.csv {message}"):
        read_table(write(folder, f"path,label\nimg/000.png,a\n{row}\n"))


@pytest.mark.parametrize("target", ["outside", "outside/000.png"])
def test_links_that_leave_the_folder_are_refused(folder: Path, target: str):
    (folder / "link").symlink_to(folder.parent / target)
    path = "link" if target.endswith(".png") else "link/000.png"
    with pytest.raises(DataError, match=r"row 2 of .* a link that leaves the CSV file's folder"):
        read_table(write(folder, f"path,label\n{path},a\n"))


def test_links_that_stay_are_followed(folder: Path):
    (folder / "link.png").symlink_to(folder / "img" / "000.png")
    assert read_table(write(folder, "path,label\nlink.png,a\nimg/001.png,b\n")).paths[0] == "link.png"


def test_an_unknown_split_is_named(folder: Path):
    with pytest.raises(DataError, match=r"row 2 of .* has the split 'dev'\. Use train, val or test"):
        read_table(write(folder, "path,label,split\nimg/000.png,a,dev\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"must have a column `path` .* got an empty row"),
        (ROWS, r"must have a column `path` \(or file, file_name, .* got img/000\.png, cat\."),
        ("path,lable\n", r"must have a column `label` .* got path, lable\. .*The first row should read: path,label"),
        ("paht,label\n", r"Did you mean `path`\?"),
        ("path,file,label\n", "must have one column of path, file, .*, got 2"),
        ("path,label\n", "must have rows to train on, got 0 rows"),
        ("path,label,split\nimg/000.png,a,test\n", "got 1 rows and none of them for train"),
        ("path,label\0\n", "must be a text file, got one with zero bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(folder: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        read_table(write(folder, text))


def test_a_label_only_in_test_is_refused_with_both_lists(folder: Path):
    text = "path,label,split\nimg/000.png,a,train\nimg/001.png,b,train\nimg/002.png,c,test\n"
    with pytest.raises(DataError, match="no label but those that train has, got c; train has a, b"):
        read_table(write(folder, text))


def test_a_cell_without_end_is_refused(folder: Path):
    with pytest.raises(DataError, match=r"is not CSV \(field larger than field limit"):
        read_table(write(folder, 'path,label\n"' + "x" * 200_000))


def test_for_a_network_that_knows_its_classes_labels_follow_it(folder: Path):
    table = write(folder, "path,label\nimg/000.png,b\n")
    files = read_table(table, class_names=["a", "b"])
    assert (files.class_names, files.labels) == (("a", "b"), (1,))
    with pytest.raises(DataError, match="those that the network knows, got b; the network knows a, c"):
        read_table(table, class_names=["a", "c"])


def test_names_that_are_not_utf_8_are_found(folder: Path):
    name = b"img/\xff.png"
    (folder / "img" / "000.png").rename(folder.parent / "data" / name.decode(errors="surrogateescape"))
    files = read_table(write(folder, b"path,label\n" + name + b",a\nimg/001.png,b\n"))
    assert (files.root / files.paths[0]).is_file()
