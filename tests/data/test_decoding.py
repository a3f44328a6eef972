"""Golden pixels for every kind of image people have, and one clear error for every kind of file that is none."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from striate.data.decoding import MAX_PIXELS, decode, probe
from striate.errors import ImageError


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def image_of(array: object, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(array, dtype=dtype))


def jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return encode(Image.fromarray(noise), "JPEG")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, data: bytes = b"", extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(data, 9)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


# Golden pixels: expected values follow from the definition of each mode, written beside it.


def test_rgb_png_keeps_its_pixels_channels_first():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    decoded = decode(encode(Image.fromarray(pixels)))
    assert decoded.shape == (3, 2, 3)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, pixels.transpose(2, 0, 1))


def test_grey_becomes_rgb_by_repetition_and_stays_itself_in_mode_L():
    content = encode(image_of([[0, 7], [128, 255]]))
    np.testing.assert_array_equal(decode(content, mode="L"), [[[0, 7], [128, 255]]])
    np.testing.assert_array_equal(decode(content), [[[0, 7], [128, 255]]] * 3)


def test_rgb_becomes_grey_by_the_luma_of_itu_r_601():
    content = encode(image_of([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]))
    # 0.299, 0.587 and 0.114 of 255
    np.testing.assert_array_equal(decode(content, mode="L"), [[[76, 150, 29]]])


def test_one_bit_becomes_black_and_white():
    image = image_of([[0, 255, 255]]).convert("1")
    np.testing.assert_array_equal(decode(encode(image), mode="L"), [[[0, 255, 255]]])


def test_grey_with_alpha_shows_white_paper():
    content = encode(Image.merge("LA", [image_of([[0, 0, 100]]), image_of([[255, 0, 0]])]))
    np.testing.assert_array_equal(decode(content, mode="L"), [[[0, 255, 255]]])


def test_transparent_pixels_hide_the_colour_below_them():
    secret = image_of([[[255, 0, 0, 0], [255, 0, 0, 255]]])
    np.testing.assert_array_equal(decode(encode(secret))[:, 0].T, [[255, 255, 255], [255, 0, 0]])


def test_half_transparent_pixels_mix_with_white():
    # alpha 128 of 255: 0 * 0.502 + 255 * 0.498 = 127
    np.testing.assert_array_equal(decode(encode(image_of([[[0, 0, 0, 128]]]))).ravel(), [127, 127, 127])


def palette_image() -> Image.Image:
    image = image_of([[0, 1, 2]])
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    return image


def test_palette_is_looked_up():
    expected = [[10, 20, 30], [200, 100, 50], [0, 0, 0]]
    np.testing.assert_array_equal(decode(encode(palette_image()))[:, 0].T, expected)
    np.testing.assert_array_equal(decode(encode(palette_image(), "GIF"))[:, 0].T, expected)


@pytest.mark.parametrize("transparency", [2, bytes([255, 255, 0])])
def test_transparent_palette_entries_show_white_paper(transparency: object):
    decoded = decode(encode(palette_image(), transparency=transparency))
    np.testing.assert_array_equal(decoded[:, 0].T, [[10, 20, 30], [200, 100, 50], [255, 255, 255]])


def test_a_transparent_colour_shows_white_paper():
    grey = encode(image_of([[5, 9]]), transparency=9)
    colour = encode(image_of([[[1, 2, 3], [4, 5, 6]]]), transparency=(4, 5, 6))
    np.testing.assert_array_equal(decode(grey, mode="L"), [[[5, 255]]])
    np.testing.assert_array_equal(decode(colour)[:, 0].T, [[1, 2, 3], [255, 255, 255]])


def test_16_bit_grey_is_scaled_and_not_saturated():
    # The upper byte of each value; Pillow's own convert("L") gives 0, 255, 255, 255.
    content = encode(image_of([[0, 256, 32768, 65535]], np.uint16))
    np.testing.assert_array_equal(decode(content, mode="L"), [[[0, 1, 128, 255]]])


@pytest.mark.parametrize(("order", "mark"), [("<", b"II*\0"), (">", b"MM\0*")])
def test_16_bit_tiff_of_both_byte_orders_is_scaled(order: str, mark: bytes):
    # Width 4, height 1, 16 bits, uncompressed, black is zero, strip offset, 1 sample, 1 row, 8 bytes.
    directory_bytes = 2 + 9 * 12 + 4
    tags = {256: 4, 257: 1, 258: 16, 259: 1, 262: 1, 273: 8 + directory_bytes, 277: 1, 278: 1, 279: 8}
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = mark + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4)
    content += np.array([0, 256, 32768, 65535]).astype(f"{order}u2").tobytes()
    np.testing.assert_array_equal(decode(content, mode="L"), [[[0, 1, 128, 255]]])


def test_16_bit_colour_keeps_the_upper_byte():
    row = struct.pack(">6H", 0, 256, 65535, 32768, 255, 511)
    content = png(2, 1, depth=16, colour=2, data=b"\0" + row)
    np.testing.assert_array_equal(decode(content)[:, 0].T, [[0, 1, 255], [128, 0, 1]])


def test_float_tiff_from_0_to_1_is_scaled():
    content = encode(image_of([[0.0, 0.5, 1.0]], np.float32), "TIFF")
    np.testing.assert_array_equal(decode(content, mode="L"), [[[0, 128, 255]]])


@pytest.mark.parametrize("values", [[[0.0, 255.0]], [[-0.1, 0.5]], [[0.0, float("nan")]]])
def test_float_tiff_of_another_range_is_refused(values: list[list[float]]):
    with pytest.raises(ImageError, match=r"floating-point values from .* only 0 to 1 has a meaning"):
        decode(encode(image_of(values, np.float32), "TIFF"))


def test_32_bit_integers_are_read_as_16_bit_or_refused():
    np.testing.assert_array_equal(decode(encode(image_of([[0, 32768]], np.int32), "TIFF"), mode="L"), [[[0, 128]]])
    with pytest.raises(ImageError, match="holds integers from 0 to 70,000, more than 16 bits"):
        decode(encode(image_of([[0, 70_000]], np.int32), "TIFF"))


def cmyk_jpeg() -> bytes:
    # One flat colour survives JPEG: no cyan, full magenta and yellow, no black is red.
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    return encode(image, "JPEG", quality=100)


def test_cmyk_jpeg_as_adobe_inverts_it_is_red():
    content = cmyk_jpeg()
    assert b"Adobe" in content
    decoded = decode(content).reshape(3, -1)
    assert decoded.min(axis=1)[0] >= 253
    assert decoded.max(axis=1)[1:].max() <= 2


def test_ycck_jpeg_is_converted():
    # The last byte of Adobe's marker says what the four channels are: 0 CMYK, 2 YCCK. A flat (Y, 128, 128, K) is grey.
    image = Image.new("CMYK", (16, 16), (55, 127, 127, 0))
    content = bytearray(encode(image, "JPEG", quality=100, subsampling=0))
    marker = content.index(b"Adobe") + 11
    assert content[marker] == 0
    content[marker] = 2
    decoded = decode(bytes(content)).reshape(3, -1)
    # Stored is Y = 255 - 55 = 200. libjpeg's rule (jdcolor.c) is C = 255 - Y = 55, and Adobe's inversion makes it an
    # ink of 200, which leaves 55 of white.
    np.testing.assert_allclose(decoded, 55, atol=2)


def test_cmyk_tiff():
    content = encode(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "TIFF")
    np.testing.assert_array_equal(decode(content)[:, 0, 0], [255, 0, 0])


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_several_is_taken(format: str):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if format == "WEBP" else {}
    content = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(decode(content)[:, 2, 2], [255, 0, 0])


@pytest.mark.parametrize("format", ["BMP", "GIF", "PNG", "TIFF", "WEBP"])
def test_lossless_formats_give_the_same_pixels(format: str):
    pixels = np.zeros((5, 7, 3), dtype=np.uint8)
    pixels[1, 2] = (200, 100, 50)
    options = {"lossless": True} if format == "WEBP" else {}
    np.testing.assert_array_equal(decode(encode(Image.fromarray(pixels), format, **options)), pixels.transpose(2, 0, 1))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot write AVIF")
def test_avif_is_read():
    decoded = decode(encode(Image.new("RGB", (16, 16), (200, 100, 50)), "AVIF", quality=100))
    np.testing.assert_allclose(decoded[:, 8, 8], [200, 100, 50], atol=3)


# Stored pixels whose upright picture is UPRIGHT, for each orientation, from the table of tag Orientation in Exif 2.32:
# 2 mirrored, 3 turned by 180 degrees, 4 upside down, 5 transposed, 6 to be turned right, 7 transversed, 8 to be turned
# left.
UPRIGHT = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT, 1),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "TIFF-LZW", "WEBP"])
def test_exif_orientation_is_applied_once(orientation: int, format: str):
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    options: dict[str, object] = {"exif": exif(orientation)}
    if format == "WEBP":
        image, options["lossless"] = image.convert("RGB"), True
    if format == "TIFF-LZW":
        options["compression"] = "tiff_lzw"
    content = encode(image, format.removesuffix("-LZW"), **options)
    np.testing.assert_array_equal(decode(content, mode="L")[0], UPRIGHT)
    assert probe(content) == (2, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_jpeg(orientation: int):
    large = np.kron(STORED[orientation], np.ones((16, 16), dtype=np.uint8))
    content = encode(Image.fromarray(large), "JPEG", quality=100, exif=exif(orientation))
    # The middle of each 16 x 16 block; JPEG may miss it by one or two levels.
    np.testing.assert_allclose(decode(content, mode="L")[0, 8::16, 8::16], UPRIGHT, atol=2)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_is_ignored(orientation: int):
    content = encode(Image.fromarray(UPRIGHT), exif=exif(orientation))
    np.testing.assert_array_equal(decode(content, mode="L")[0], UPRIGHT)


def test_broken_exif_does_not_cost_the_picture():
    content = encode(Image.fromarray(UPRIGHT), exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    np.testing.assert_array_equal(decode(content, mode="L")[0], UPRIGHT)


def test_content_decides_and_not_the_extension(tmp_path: Path):
    for name in ("png.jpg", "noextension", "UPPER.PNG", "strange.xyz"):
        (tmp_path / name).write_bytes(encode(Image.fromarray(UPRIGHT)))
        np.testing.assert_array_equal(decode(tmp_path / name, mode="L")[0], UPRIGHT)


def test_trailing_bytes_are_ignored():
    np.testing.assert_array_equal(decode(encode(Image.fromarray(UPRIGHT)) + b"PK\x03\x04", mode="L")[0], UPRIGHT)


@pytest.mark.parametrize("name", ["a b.png", "ümläut.png", "line\nbreak.png", "-leading.png", "x" * 251 + ".png"])
def test_unusual_names_work(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(encode(Image.fromarray(UPRIGHT)))
    assert decode(tmp_path / name).shape == (3, 2, 3)


def test_a_name_that_is_not_utf_8_works_and_is_escaped_in_errors(tmp_path: Path):
    path = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(path)).write_bytes(b"")
    with pytest.raises(ImageError, match=r"\\udcff\.png is empty"):
        decode(os.fsdecode(path))


def test_warnings_of_pillow_do_not_reach_the_user_and_filters_are_restored():
    palette = encode(palette_image(), transparency=bytes([255, 128, 0]))
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(decode, [palette] * 50))
    assert all((image == images[0]).all() for image in images)
    assert warnings.filters == before


def test_threads_agree_with_one_thread():
    contents = [jpeg((40 + i, 30)) for i in range(20)]
    alone = [decode(content) for content in contents]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decode, contents * 3))
    assert threading.active_count() >= 1
    for image, expected in zip(together, alone * 3, strict=True):
        np.testing.assert_array_equal(image, expected)


def seeds() -> list[bytes]:
    noise = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    contents = [encode(image, format) for format in ("PNG", "BMP", "GIF", "WEBP", "TIFF")]
    contents += [jpeg((16, 16)), encode(image, "JPEG", progressive=True, exif=exif(6)), cmyk_jpeg()]
    contents += [encode(image_of(noise[:, :, 0], np.uint16)), encode(palette_image(), transparency=1)]
    contents += [encode(image, "TIFF", compression="tiff_lzw"), encode(image.convert("F"), "TIFF")]
    return contents


def test_fuzz_only_image_errors_escape():
    random = np.random.default_rng(20240601)
    contents = seeds()
    refused = 0
    for _ in range(2_000):
        mutant = bytearray(contents[random.integers(len(contents))])
        for _ in range(random.integers(1, 6)):
            action, at = random.integers(4), int(random.integers(len(mutant)))
            if action == 0:
                mutant[at] ^= 1 << int(random.integers(8))
            elif action == 1:
                mutant[at] = int(random.integers(256))
            elif action == 2:
                del mutant[at + 1 :]
            else:
                mutant[at:at] = random.bytes(int(random.integers(1, 9)))
        try:
            image = decode(bytes(mutant))
        except ImageError:
            refused += 1
        else:
            assert image.shape[0] == 3
            assert image.size <= 3 * MAX_PIXELS
    # Half a million mutants of Pillow's own files were refused in 56 % of cases.
    assert 400 < refused < 1_900
