"""A working as an HTML file."""

from __future__ import annotations

import re

import pytest

from striate import work
from striate.errors import ResourceError, UsageError


def test_a_page(tmp_path):
    answer = work.conv("1 2; 3 4", "1 0; 0 1")
    path = work.save_page(answer, tmp_path / "conv.html")
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert f"<title>{answer.title}</title>" in page
    assert "white-space: pre-wrap" in page  # tables keep their columns
    assert page.count("<td") == 4 + 4 + 4 + 1
    assert not re.search(r"(src|href)=|<script", page)


def test_text_is_escaped(tmp_path):
    path = work.save_page(work.receptive_field("3x3, dense 3->4"), tmp_path / "a.html")
    assert "dense 3-&gt;4" in path.read_text(encoding="utf-8")


def test_refusals(tmp_path):
    answer = work.softmax("1 2")
    path = work.save_page(answer, str(tmp_path / "a.html"))
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"save_page: `output` must be a new file, and .*a\.html exists"):
        work.save_page(answer, path)
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match=r"save_page: `output` must end in \.html, got 'a\.txt'\. Name it a\.html"):
        work.save_page(answer, tmp_path / "a.txt")
    with pytest.raises(ResourceError, match="cannot be written"):
        work.save_page(answer, tmp_path / "none" / "a.html")
