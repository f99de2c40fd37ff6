"""What an image file becomes: every mode of pixels, orientation, transparency, and files that are damaged."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from dqt.data.errors import DataError
from dqt.data.images import read_image

UInt8 = npt.NDArray[np.uint8]
H, W = 6, 5


def random(*shape: int) -> UInt8:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


GREY, COLOUR, ALPHA = random(H, W), random(H, W, 3), random(H, W, 2)[..., 1]


def saved(path: Path, image: Any, **options: Any) -> Path:
    image.save(path, **options)
    return path


def planes(pixels: Any) -> UInt8:
    array = np.asarray(pixels)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def test_grey_and_colour_keep_their_channels_or_get_those_that_are_wanted(tmp_path: Path) -> None:
    grey, colour = saved(tmp_path / "g.png", Image.fromarray(GREY)), saved(tmp_path / "c.png", Image.fromarray(COLOUR))
    assert np.array_equal(read_image(grey), GREY[None])
    assert np.array_equal(read_image(colour), planes(COLOUR))
    assert np.array_equal(read_image(grey, (3, H, W)), np.stack([GREY] * 3))
    luma = np.asarray(Image.fromarray(COLOUR).convert("L"))
    assert np.array_equal(read_image(colour, (1, H, W)), luma[None])
    assert np.array_equal(read_image(colour, (0, H, W)), planes(COLOUR))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "big-endian.tif", "x.pgm"])
def test_sixteen_bits_keep_their_high_byte(tmp_path: Path, name: str) -> None:
    low = random(2, H, W)[1]
    values = GREY.astype(np.uint16) << 8 | low
    if name.startswith("big"):
        values = values.astype(">u2")
    path = saved(tmp_path / name, Image.fromarray(values))
    assert np.array_equal(read_image(path), GREY[None])
    assert np.array_equal(read_image(path, (3, H, W)), np.stack([GREY] * 3))


def tiff16(values: npt.NDArray[Any], photometric: int, orientation: int) -> bytes:
    """A little-endian TIFF of 16-bit grey, one strip; photometric 0: 0 is white."""
    height, width = values.shape
    data = values.astype("<u2").tobytes()
    short, long = 3, 4
    tags = [
        (256, short, width), (257, short, height), (258, short, 16), (259, short, 1), (262, short, photometric),
        (273, long, 8), (274, short, orientation), (277, short, 1), (278, short, height), (279, long, len(data)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_tiff_may_count_from_white_down(tmp_path: Path, orientation: int) -> None:
    values = GREY.astype(np.uint16) << 8
    (tmp_path / "x.tif").write_bytes(tiff16(65535 - values, 0, orientation))
    shown = GREY if orientation == 1 else np.rot90(GREY, -1)
    assert np.array_equal(read_image(tmp_path / "x.tif"), shown[None])
    (tmp_path / "x.tif").write_bytes(tiff16(values, 1, orientation))
    assert np.array_equal(read_image(tmp_path / "x.tif"), shown[None])


@pytest.mark.parametrize("array", [GREY.astype(np.float32), GREY.astype(np.int32)])
def test_samples_without_a_known_white_are_refused(tmp_path: Path, array: npt.NDArray[Any]) -> None:
    path = saved(tmp_path / "x.tif", Image.fromarray(array))
    with pytest.raises(DataError, match=r"x\.tif: samples are .*, which do not say what white is: save 8 or 16 bits"):
        read_image(path)


def test_bits_palettes_and_cmyk(tmp_path: Path) -> None:
    bits = saved(tmp_path / "b.png", Image.fromarray(GREY > 127))
    assert np.array_equal(read_image(bits), np.where(GREY > 127, np.uint8(255), np.uint8(0))[None])
    image = Image.fromarray(COLOUR).quantize(16)
    assert np.array_equal(read_image(saved(tmp_path / "p.png", image)), planes(image.convert("RGB")))
    assert np.array_equal(read_image(saved(tmp_path / "p.bmp", image)), planes(image.convert("RGB")))
    cmyk = saved(tmp_path / "k.tif", Image.fromarray(COLOUR).convert("CMYK"))
    assert np.array_equal(read_image(cmyk), planes(COLOUR))  # without black the conversion has an inverse


@pytest.mark.parametrize("alpha", [ALPHA, np.full_like(ALPHA, 255), np.zeros_like(ALPHA)])
def test_transparent_pixels_lie_on_white(tmp_path: Path, alpha: UInt8) -> None:
    image = Image.fromarray(np.dstack([COLOUR, alpha]))
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    assert np.array_equal(read_image(saved(tmp_path / "c.png", image)), planes(page.convert("RGB")))
    grey = Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(alpha)))
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(grey.convert("RGBA"))
    path = saved(tmp_path / "g.png", grey)
    assert np.array_equal(read_image(path), planes(page.convert("RGB"))[:1])
    assert np.array_equal(read_image(path, (3, H, W)), planes(page.convert("RGB")))


def test_one_colour_may_be_transparent(tmp_path: Path) -> None:
    grey = saved(tmp_path / "g.png", Image.fromarray(GREY), transparency=int(GREY[0, 0]))
    assert np.array_equal(read_image(grey), np.where(GREY[0, 0] == GREY, np.uint8(255), GREY)[None])
    colour = saved(tmp_path / "c.png", Image.fromarray(COLOUR), transparency=tuple(COLOUR[0, 0].tolist()))
    same = (COLOUR[0, 0] == COLOUR).all(-1, keepdims=True)
    assert np.array_equal(read_image(colour), planes(np.where(same, np.uint8(255), COLOUR)))
    palette = Image.fromarray(COLOUR).quantize(8)
    path = saved(tmp_path / "p.png", palette, transparency=3)
    clear = (np.asarray(palette) == 3)[..., None]
    assert np.array_equal(read_image(path), planes(np.where(clear, np.uint8(255), np.asarray(palette.convert("RGB")))))


def png(rows: npt.NDArray[np.uint8], bits: int, colour: int, clear: tuple[int, ...] = ()) -> bytes:
    """A PNG file of rows of bytes, ``bits`` a sample, of a colour type of the format; ``clear`` is transparent."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    samples = {0: 1, 2: 3, 4: 2}[colour]
    size = struct.pack(">IIBBBBB", rows.shape[1] * 8 // (bits * samples), len(rows), bits, colour, 0, 0, 0)
    alpha = chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)) if clear else b""
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + alpha + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [2, 4])
def test_a_grey_level_of_few_bits_may_be_transparent(tmp_path: Path, bits: int) -> None:
    levels = np.arange(16).reshape(2, 8) % 2**bits
    places = 8 // bits
    shifts = bits * np.arange(places - 1, -1, -1)
    rows = (levels.reshape(2, -1, places) << shifts).sum(-1).astype(np.uint8)
    (tmp_path / "x.png").write_bytes(png(rows, bits, 0, clear=(2,)))
    shown = np.where(levels == 2, 255, levels * 255 // (2**bits - 1))
    assert np.array_equal(read_image(tmp_path / "x.png"), shown[None])


def test_sixteen_bits_with_transparency(tmp_path: Path) -> None:
    pairs = np.dstack([GREY, GREY, ALPHA, ALPHA]).reshape(H, -1)  # each sample twice: its high and its low byte
    (tmp_path / "grey.png").write_bytes(png(pairs, 16, 4))
    values, alpha = GREY.astype(int), ALPHA.astype(int)
    assert np.array_equal(
        read_image(tmp_path / "grey.png"), ((values * alpha + 255 * (255 - alpha) + 127) // 255)[None]
    )
    clear = tuple(257 * int(value) for value in COLOUR[0, 0])
    (tmp_path / "colour.png").write_bytes(png(np.repeat(COLOUR, 2, axis=2).reshape(H, -1), 16, 2, clear))
    same = (COLOUR[0, 0] == COLOUR).all(-1, keepdims=True)
    assert np.array_equal(read_image(tmp_path / "colour.png"), planes(np.where(same, np.uint8(255), COLOUR)))


@pytest.mark.parametrize("orientation", [2, 6, 7])
def test_a_grey_tiff_is_turned(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "x.tif", Image.fromarray(GREY), exif=exif)
    turned = {2: np.fliplr(GREY), 6: np.rot90(GREY, -1), 7: np.rot90(GREY, 2).T}
    assert np.array_equal(read_image(path), turned[orientation][None])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.webp", "x.jpg"])
def test_an_image_is_turned_as_viewers_show_it(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if name == "x.webp" else {"quality": 100} if name == "x.jpg" else {}
    path = saved(tmp_path / name, Image.fromarray(COLOUR), exif=exif, **options)
    with Image.open(path) as image:
        shown = planes(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(read_image(path), shown)
    assert shown.shape[1:] == ((W, H) if orientation >= 5 else (H, W))
    assert np.array_equal(read_image(path, shown.shape), shown)
    with pytest.raises(DataError, match="pixels where"):
        read_image(path, (3, *shown.shape[:0:-1]))


def test_a_damaged_exif_block_leaves_the_picture_whole(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", Image.fromarray(GREY), exif=b"Exif\0\0no header of a TIFF")
    assert np.array_equal(read_image(path), GREY[None])


def test_the_first_frame_counts(tmp_path: Path) -> None:
    first, second = (Image.fromarray(pixels).quantize(32) for pixels in (COLOUR, 255 - COLOUR))
    gif = saved(tmp_path / "x.gif", first, save_all=True, append_images=[second])
    assert np.array_equal(read_image(gif), planes(first.convert("RGB")))
    pages = saved(tmp_path / "x.tif", Image.fromarray(GREY), save_all=True, append_images=[Image.fromarray(255 - GREY)])
    assert np.array_equal(read_image(pages), GREY[None])


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.bmp", "x.webp", "x.gif", "x.ppm", "x.tif"])
def test_a_truncated_file_is_refused_by_name_or_whole(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, Image.fromarray(random(40, 40, 3)))
    whole, raw = read_image(path), path.read_bytes()
    for length in (0, 1, 30, len(raw) // 2, len(raw) - 200):
        path.write_bytes(raw[:length])
        with pytest.raises(DataError, match=rf"{name}: not a readable image"):
            read_image(path)
    for length in (len(raw) - 5, len(raw) - 1):  # what ends some formats after the pixels may be missing
        path.write_bytes(raw[:length])
        with suppress(DataError):
            assert np.array_equal(read_image(path), whole)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png: not a readable image: of no format that Pillow knows"):
        read_image(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match=r"not a readable image: Is a directory$"):
        read_image(tmp_path)


def test_another_size_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", Image.fromarray(GREY))
    with pytest.raises(DataError, match=r"x\.png: 5x6 pixels where 8x7 is needed; resize the images"):
        read_image(path, (1, 7, 8))


@pytest.mark.parametrize("limit", [900, 1500])  # of 2000 pixels: an error of Pillow, and only a warning
def test_an_image_too_large_to_be_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = saved(tmp_path / "x.png", Image.new("L", (40, 50)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"x\.png: not a readable image: Image size \(2000 pixels\) exceeds limit"):
        read_image(path)
