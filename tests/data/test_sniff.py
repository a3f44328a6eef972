"""Telling images from other files by their first bytes; the words for other files are tested in test_decoding.py."""

from __future__ import annotations

import io

import pytest
from PIL import Image, features

from striate.data.sniff import FORMATS, SNIFF_BYTES, describe_content, is_image


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_recognised_from_its_first_bytes(format: str):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format)
    assert is_image(buffer.getvalue()[:32])


@pytest.mark.parametrize("start", [b"", b"BM", b"BMW cars are listed here", b"RIFF\0\0\0\0WAVE", b"GIF", bytes(32)])
def test_what_only_begins_alike_is_no_image(start: bytes):
    assert not is_image(start)


def test_a_character_cut_in_two_at_the_end_is_still_text():
    for shift in range(4):
        content = b"a" * shift + "€".encode() * SNIFF_BYTES
        assert describe_content(content) == "is a text file"


def test_bytes_that_are_no_text_are_not_called_text():
    assert describe_content(b"\x81abc") == "is not an image"
    assert describe_content(b"\x81" * SNIFF_BYTES) == "is not an image"
    assert describe_content(b"a\x01b") == "is not an image"
