#!/usr/bin/env bash
# Guess: Image.open(name) and Image.open(file object) of the same bytes give the same pixels.
# Seen:  an uncompressed grey TIFF that asks to be turned by 90 degrees (Orientation 6) is right from a file object but scrambled
#        and of another shape from a name: Pillow maps such a file into memory with the turned width, then turns it again. Modes
#        I;16 and RGBA do the same; RGB is right, as its pixels are never mapped. Neither way gives an error or a warning.
# With:  Pillow 13.0.0, numpy 2.4.6, Python 3.11.
# Code:  PIL/ImageFile.py, ImageFile.load: map_buffer takes self.size, which TiffImagePlugin.py swaps when it opens the file.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q pillow==13.0.0 numpy==2.4.6
cd "$t"
venv/bin/python - <<'PY'
import io
import pathlib
import sys

import numpy as np
from PIL import Image

changed = False
for mode, shape, dtype in (("L", (2, 3), "u1"), ("I;16", (2, 3), "u2"), ("RGBA", (2, 3, 4), "u1"), ("RGB", (2, 3, 3), "u1")):
    stored = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    image = Image.fromarray(stored)
    assert image.mode == mode
    image.save("turned.tif", tiffinfo={274: 6})  # 274 is Orientation; 6: turn by 90 degrees clockwise to show
    right = np.rot90(stored, -1)
    by_object = np.asarray(Image.open(io.BytesIO(pathlib.Path("turned.tif").read_bytes())))
    by_name = np.asarray(Image.open("turned.tif"))
    if mode == "L":
        print("stored", stored.tolist(), "from a file object", by_object.tolist(), "by name", by_name.tolist())
    print(mode, "right from a file object:", np.array_equal(by_object, right), "by name:", np.array_equal(by_name, right))
    changed |= not np.array_equal(by_object, right) or np.array_equal(by_name, right) != (mode == "RGB")
sys.exit(changed)
PY
