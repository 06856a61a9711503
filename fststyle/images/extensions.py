"""File extensions of images."""

from __future__ import annotations

from typing import Final

PHOTO_SUFFIXES: Final = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".avif",
    ".avifs", ".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx",
    ".gif", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".psd", ".qoi", ".pcx",
    ".sgi", ".rgb", ".rgba", ".bw", ".ras", ".pcd",
)  # fmt: skip
"""Extensions of files that are treated as photos, in lower case."""

OTHER_IMAGE_SUFFIXES: Final = (
    ".svg", ".svgz", ".eps", ".wmf", ".emf", ".ico", ".icns", ".cur", ".xbm", ".xpm", ".dds",
    ".fits", ".exr", ".hdr", ".xcf", ".jxr", ".wdp", ".bpg", ".raw", ".dng", ".cr2", ".cr3",
    ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".3fr",
    ".iiq", ".erf", ".x3f", ".rwl",
)  # fmt: skip
"""Extensions of images that are not treated as photos: drawings, icons, raw camera files."""
