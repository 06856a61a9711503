"""Random images and ICC profiles."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def random_bytes(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def random_pixels(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def s15(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


D50 = (0.9642, 1.0, 0.8249)


def icc_profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"made for a test\0"
    tags = tags | {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + s15(*D50),
    }
    offset, table, data = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", offset + len(data), len(padded))
        data += padded
    size = offset + len(data)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, kind, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + s15(*D50) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + data


def matrix_profile(*colorants: tuple[float, float, float]) -> bytes:
    """Build a linear display profile from the XYZ of each channel."""
    tags = {}
    for channel, xyz in zip((b"r", b"g", b"b"), colorants, strict=True):
        tags[channel + b"XYZ"] = b"XYZ " + bytes(4) + s15(*xyz)
        tags[channel + b"TRC"] = b"curv" + bytes(8)  # a curve without entries is linear
    return icc_profile(b"mntr", b"RGB ", b"XYZ ", tags)


def cyan_profile() -> bytes:
    """Build a printer's profile by which only the cyan ink is seen, and is black."""
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1) + 4 * identity
    lut += 8 * bytes([255, 128, 128]) + 8 * bytes([0, 128, 128]) + 3 * identity  # Lab, C slowest
    return icc_profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


# sRGB's primaries, adapted to D50.
RED, GREEN, BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)


SWAPPED = matrix_profile(GREEN, RED, BLUE)  # what is stored as red is seen as green


LINEAR_GREY = icc_profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": b"curv" + bytes(8)})


def parametric(*numbers: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + s15(*numbers)


def rgb_profile(curve: bytes, *colorants: tuple[float, float, float]) -> bytes:
    tags = {}
    for channel, xyz in zip((b"r", b"g", b"b"), colorants, strict=True):
        tags[channel + b"XYZ"] = b"XYZ " + bytes(4) + s15(*xyz)
        tags[channel + b"TRC"] = curve
    return icc_profile(b"mntr", b"RGB ", b"XYZ ", tags)


SRGB_CURVE = parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


# Apple's "Display P3" and Adobe's "Adobe RGB (1998)": colorants under D50.
DISPLAY_P3 = rgb_profile(
    SRGB_CURVE, (0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)
)


GAMMA_2_2 = b"curv" + bytes(4) + struct.pack(">IH", 1, 563) + bytes(2)


ADOBE_RGB = rgb_profile(
    GAMMA_2_2, (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)
)


# A colour of sRGB and the same colour in the other spaces, in 255ths; computed from the primaries
# and white points of the specifications (IEC 61966-2-1, SMPTE EG 432-1, Adobe RGB 1998).
PATCH = (200, 100, 50)


SPACES = {"display_p3": DISPLAY_P3, "adobe_rgb": ADOBE_RGB}


def stored_colour(space: str) -> NDArray[np.floating]:
    """Compute PATCH in another space from the chromaticities of both."""
    primaries = {
        "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
        "display_p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
        "adobe_rgb": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    }

    def to_xyz(name: str) -> NDArray[np.floating]:
        columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries[name]]).T
        white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
        scaled: NDArray[np.floating] = columns * np.linalg.solve(columns, white)
        return scaled

    values = np.array(PATCH) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    other = np.linalg.solve(to_xyz(space), to_xyz("srgb") @ linear)
    if space == "adobe_rgb":
        return other ** (256 / 563)
    return np.where(other <= 0.0031308, 12.92 * other, 1.055 * other ** (1 / 2.4) - 0.055)
