#!/usr/bin/env bash
# Guess: a PNG's transparent colour (tRNS) becomes transparent pixels in convert("RGBA") at every bit depth that Pillow reads.
# Seen:  in a grey PNG of 2 or 4 bits Pillow widens the pixels to 8 bits but leaves info["transparency"] in the file's own depth,
#        so convert("RGBA") and convert("LA") make no pixel transparent. At 8 bits the same picture is right.
# With:  Pillow 13.0.0, Python 3.11.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q pillow==13.0.0
cd "$t"
venv/bin/python - <<'PY'
import io
import struct
import sys
import zlib

from PIL import Image


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def picture(bits):
    """Two grey pixels, one of the largest value less one, which is the transparent colour, and a black one."""
    colour = 2**bits - 2
    row = bytes([colour, 0]) if bits == 8 else bytes([colour << (8 - bits)])
    head = struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)
    parts = (b"IHDR", head), (b"tRNS", struct.pack(">H", colour)), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)))


seen = {}
for bits in (2, 4, 8):
    image = picture(bits)
    grey = image.getpixel((0, 0))
    seen[bits] = [image.convert(mode).getpixel((0, 0))[-1] for mode in ("LA", "RGBA")]
    print(f"{bits} bits: pixel {grey}, transparency {image.info.get('transparency')}, alpha in LA and RGBA {seen[bits]}")
sys.exit(seen != {2: [255, 255], 4: [255, 255], 8: [0, 0]})
PY
