"""What an image file becomes: uint8 ``[C, H, W]``, one definition for every verb.

In this order:

1. The first frame of the file, turned as its EXIF orientation says.
2. To 8 bits: 16-bit samples keep their high byte, a bit is 0 or 255. Samples without a known white (floats, integers of
   32 bits) are an error.
3. To grey or red, green, blue: a palette and CMYK become red, green, blue. Colour profiles are not applied.
4. Transparent pixels are laid over white: ``(value * alpha + 255 * (255 - alpha) + 127) // 255``.
5. To the channels that are wanted: grey is repeated; colour becomes ``(19595 R + 38470 G + 7471 B + 32768) >> 16``.

Nothing is resized or cropped: another size than the wanted one is an error.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.Image import Transpose

from dqt.data.errors import DataError, reason

UInt8 = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
ORIENTATION = 0x0112
"""The EXIF tag."""
PHOTOMETRIC = 262
"""The TIFF tag; 0 says that 0 is white."""
SIXTEEN_BITS_IN_I = ("PNG", "PPM")
"""Formats whose samples Pillow's 32-bit mode "I" holds in 0..65535."""
GREY_STORED_IN_RGBA = ("LA;16B",)
"""PNG files of grey and alpha in 16 bits, which Pillow gives three equal colours."""
FEW_BITS = {"L;2": 85, "L;4": 17}
"""From a grey level of 2 or 4 bits to 8 bits."""
LUMA = (19595, 38470, 7471)
"""ITU-R 601-2 in 1/65536, as Pillow converts."""


def read_image(path: str | os.PathLike[str], like: Sequence[int] | None = None) -> UInt8:
    """One image file as uint8 ``[C, H, W]``, C = 1 for grey files and 3 for others; see the module.

    Args:
        path: of the file.
        like: a shape ``[C, H, W]`` to match: a C of 1 or 3 converts the image, 0 keeps the file's own; another height
            or width is an error.

    Raises:
        DataError: not an image, damaged, without a known white, or not of the size of ``like``.
    """
    try:
        pixels = _decoded(path, like)
    except (DataError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # on a damaged file Pillow's decoders raise whatever they stumble over
        unknown = type(error).__name__ == "UnidentifiedImageError"
        said = "of no format that Pillow knows" if unknown else reason(error)
        raise DataError(f"{path}: not a readable image: {said}") from None
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if like is not None:
        planes = with_channels(planes, like[0] or len(planes))
        _check_size(path, planes.shape[2], planes.shape[1], like)
    return np.ascontiguousarray(planes)


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files of these kinds in ``folder``, sorted, but no hidden ones: macOS writes ``._0.png`` beside ``0.png``."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return sorted(path for path in found if not path.is_dir())


def with_channels(planes: UInt8, channels: int) -> UInt8:
    """``planes``, uint8 ``[1, H, W]`` or ``[3, H, W]``, as ``channels`` of them, 1 or 3: rule 5 of the module."""
    if len(planes) == channels:
        return planes
    if channels == 3:
        return np.repeat(planes, 3, axis=0)
    red, green, blue = (weight * plane.astype(np.uint32) for weight, plane in zip(LUMA, planes, strict=True))
    return ((red + green + blue + 32768) >> 16).astype(np.uint8)[None]


def _decoded(path: str | os.PathLike[str], like: Sequence[int] | None) -> UInt8:
    """Rules 1 to 4: uint8 ``[H, W]`` or ``[H, W, 3]``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged EXIF: the picture itself is whole
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # Not by its name: Pillow maps such files into memory, and scrambles a TIFF that it must turn.
        with Path(path).open("rb") as file, Image.open(file) as image:
            if like is not None and sorted(image.size) != sorted(like[1:]):  # before a large file is decoded
                _check_size(path, *image.size, like)
            form, zero_is_white, stored = image.format, _zero_is_white(image), _stored(image)
            image.load()
            turned = image if form == "TIFF" else _upright(image)  # loading has turned a TIFF
            return _eight_bits(turned, path, form, stored, zero_is_white=zero_is_white)


def _upright(image: Any) -> Any:
    """The image as viewers show it: rule 1."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the EXIF block is damaged, the picture is not: shown as it is stored
        return image
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    return image.transpose(turns[orientation]) if orientation in turns else image


def _eight_bits(
    image: Any, path: str | os.PathLike[str], form: str | None, stored: str, *, zero_is_white: bool
) -> UInt8:
    """Rules 2 to 4."""
    mode = image.mode
    clear = _clear(image, stored) if form == "PNG" else image.info.get("transparency")
    if mode == "F" or (mode == "I" and form not in SIXTEEN_BITS_IN_I):
        kind = "floats" if mode == "F" else "integers of 32 bits"
        raise DataError(
            f"{path}: samples are {kind}, which do not say what white is: save 8 or 16 bits, or a float32 .npy that "
            "is normalized as in training"
        )
    if mode.startswith("I"):
        values = np.asarray(image)
        high = ((65535 - values if zero_is_white else values) >> 8).astype(np.uint8)
        return np.where(values == clear, np.uint8(255), high) if isinstance(clear, int) else high
    grey = mode in ("1", "L", "LA", "La") or stored in GREY_STORED_IN_RGBA
    if clear is None and mode not in ("LA", "La", "PA", "RGBA", "RGBa"):
        return np.asarray(image.convert("L" if grey else "RGB"))
    if clear is not None:
        image.info["transparency"] = clear
    return _over_white(np.asarray(image.convert("LA" if grey else "RGBA")))


def _stored(image: Any) -> str:
    """Pillow's name of how an image's file stores samples, which loading converts; empty where it says none."""
    arguments = image.tile[0][3] if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _clear(image: Any, stored: str) -> Any:
    """The transparent colour of a PNG file, in 8 bits: Pillow leaves it in the file's own bits."""
    clear = image.info.get("transparency")
    if isinstance(clear, int) and stored in FEW_BITS:
        return clear * FEW_BITS[stored]
    if isinstance(clear, tuple) and stored == "RGB;16B":
        return tuple(value >> 8 for value in clear)
    return clear


def _zero_is_white(image: Any) -> bool:
    """Whether a TIFF of 16 bits counts from white down: Pillow turns only those of up to 8 bits."""
    return image.format == "TIFF" and image.mode.startswith("I;16") and image.tag_v2.get(PHOTOMETRIC) == 0


def _over_white(pixels: UInt8) -> UInt8:
    values, alpha = pixels[..., :-1].astype(np.uint32), pixels[..., -1:].astype(np.uint32)
    laid = ((values * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return laid[..., 0] if laid.shape[-1] == 1 else laid


def _check_size(path: str | os.PathLike[str], width: int, height: int, like: Sequence[int]) -> None:
    if (height, width) != tuple(like[1:]):
        wanted = f"{like[2]}x{like[1]}"
        raise DataError(f"{path}: {width}x{height} pixels where {wanted} is needed; resize the images to one size")
