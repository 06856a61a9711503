"""Writing TIFF files with 8 or 16 bits per channel.

Pillow cannot write 16-bit colour, and its writer changes the types of EXIF values and replaces
non-ASCII characters. The EXIF writer in `fststyle.images.exif` preserves every byte of the
metadata.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from fststyle.images import exif as ex
from fststyle.images.sixteen_bit import COMPRESSION


def write_tiff(samples: NDArray[np.uint8] | NDArray[np.uint16], exif: ex.Exif, icc: bytes) -> bytes:
    """Encode an image as TIFF, compressed with Deflate and a predictor (TIFF 6.0, section 14).

    Args:
        samples: ``(H, W, 3)``, or ``(H, W, 4)`` with alpha.
        exif: Metadata to write in addition to the tags that describe how the image is stored.
        icc: ICC profile to embed.

    Returns:
        The contents of the file.
    """
    height, width, channels = samples.shape
    bits = 8 * samples.dtype.itemsize
    rows = max(1, 2**20 // (width * channels * samples.dtype.itemsize))
    parts, offsets, sizes = [b""], [], []
    position = 8
    for top in range(0, height, rows):
        strip = samples[top : top + rows].copy()
        strip[:, 1:] -= samples[top : top + rows, :-1]  # the predictor, which wraps around
        data = zlib.compress(strip.astype(f"{exif.order}u{bits // 8}").tobytes(), COMPRESSION)
        data += bytes(len(data) % 2)
        parts.append(data)
        offsets.append(position)
        sizes.append(len(data))
        position += len(data)
    numbers = {
        256: (ex.LONG, [width]), 257: (ex.LONG, [height]), 258: (ex.SHORT, [bits] * channels),
        259: (ex.SHORT, [8]), 262: (ex.SHORT, [2]), 273: (ex.LONG, offsets),
        277: (ex.SHORT, [channels]), 278: (ex.LONG, [rows]), 279: (ex.LONG, sizes),
        284: (ex.SHORT, [1]), 317: (ex.SHORT, [2]),
    }  # fmt: skip
    if channels == 4:
        numbers[338] = (ex.SHORT, [2])  # colours are not premultiplied by alpha
    stored = {tag: exif.entry(kind, *values) for tag, (kind, values) in numbers.items()}
    stored[34675] = ex.Entry(ex.UNDEFINED, len(icc), icc)
    whole = ex.Exif(exif.order, exif.image | stored, exif.exif, exif.gps)
    parts[0] = ex.header(exif.order, position)
    return b"".join(parts) + ex.folders(whole, start=position)
