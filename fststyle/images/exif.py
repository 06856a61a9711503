"""Reading and writing EXIF blocks without loss: every value keeps its type and its bytes.

An EXIF block is a small TIFF file that consists of folders (IFDs), which contain entries. Each
entry has a tag, a type, a count and a value (Exif 2.32, CIPA DC-008). Pillow's EXIF writer cannot
be used here, because it guesses the types and replaces non-ASCII characters with question marks.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from mmap import mmap
from typing import Final

IMAGE_DESCRIPTION: Final = 0x010E
ORIENTATION: Final = 0x0112
X_RESOLUTION: Final = 0x011A
Y_RESOLUTION: Final = 0x011B
RESOLUTION_UNIT: Final = 0x0128
SOFTWARE: Final = 0x0131
EXIF_FOLDER: Final = 0x8769
GPS_FOLDER: Final = 0x8825
COLOR_SPACE: Final = 0xA001

ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
_TYPE_SIZES: Final = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
}  # fmt: skip
_FORMATS: Final = {SHORT: "H", LONG: "I", RATIONAL: "I"}

# Tags in the first folder that describe the photo rather than how its file is stored.
KEPT_TAGS: Final = frozenset(
    (0x010D, IMAGE_DESCRIPTION, 0x010F, 0x0110, ORIENTATION, X_RESOLUTION, Y_RESOLUTION)
    + (RESOLUTION_UNIT, SOFTWARE, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298)
    + (0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F)
)
# Tags that do not apply to the result: compressed bits per pixel, size, colour space, gamma,
# padding. The maker note is also dropped: it contains offsets, which become wrong when it is
# moved, and often a preview.
_EXIF_DROPPED: Final = frozenset((0x9102, 0x927C, 0xA002, 0xA003, 0xA005, 0xA500, 0xEA1C))


@dataclass(frozen=True)
class Entry:
    """The value of a tag: type, number of items, and bytes in the byte order of the block."""

    type: int
    count: int
    data: bytes


Folder = dict[int, Entry]


@dataclass(frozen=True)
class Exif:
    """An EXIF block.

    Attributes:
        order: Byte order of all values: ``<`` (little-endian) or ``>`` (big-endian).
        image: Entries of the first folder, without the pointers to the other folders.
        exif: Entries of the Exif folder, such as the exposure time.
        gps: Entries of the GPS folder, which describe the location.
    """

    order: str = "<"
    image: Folder = field(default_factory=dict)
    exif: Folder = field(default_factory=dict)
    gps: Folder = field(default_factory=dict)

    def entry(self, kind: int, *values: int) -> Entry:
        """Return an entry of integers. Each rational number consists of two integers."""
        data = struct.pack(f"{self.order}{len(values)}{_FORMATS[kind]}", *values)
        return Entry(kind, len(data) // _TYPE_SIZES[kind], data)


def text_entry(text: str) -> Entry:
    """Return a text entry. As in most programs, non-ASCII characters are encoded in UTF-8."""
    data = text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
    return Entry(ASCII, len(data), data)


def entry_text(entry: Entry | None) -> str:
    """Return the text of an entry, or an empty string if the entry is missing or is not text."""
    if entry is None or entry.type != ASCII:
        return ""
    data = entry.data.partition(b"\0")[0]
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError:
        return data.decode("latin-1").strip()


def read_exif(block: bytes | mmap) -> Exif:
    """Read an EXIF block.

    Args:
        block: EXIF block without the leading ``Exif`` and two zero bytes, or a whole TIFF file. The
            data may be damaged.

    Returns:
        All entries that can be read, without thumbnails. The total size of the entries never
        exceeds the size of the block.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return Exif()
    image = _read_folder(block, struct.unpack_from(order + "I", block, 4)[0], order)
    pointers = [image.pop(tag, Entry(LONG, 0, b"")).data for tag in (EXIF_FOLDER, GPS_FOLDER)]
    others = [
        _read_folder(block, struct.unpack(order + "I", data)[0], order) if len(data) == 4 else {}
        for data in pointers
    ]
    return Exif(order, image, *others)


def _read_folder(block: bytes | mmap, offset: int, order: str) -> Folder:
    folder: Folder = {}
    left = len(block)  # in a decompression bomb, many entries share bytes
    if offset + 2 > len(block):
        return folder
    (count,) = struct.unpack_from(order + "H", block, offset)
    for position in range(offset + 2, min(offset + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, number, offset_of_value = struct.unpack_from(order + "HHII", block, position)
        size = _TYPE_SIZES.get(kind, 0) * number
        start = position + 8 if size <= 4 else offset_of_value
        left -= size
        if left < 0:
            break
        if 0 < size <= len(block) - start:
            folder.setdefault(tag, Entry(kind, number, block[start : start + size]))
    return folder


def resolution(exif: Exif, dpi: tuple[float, float]) -> Folder:
    """Return the entries for a resolution in dots per inch, in the byte order of ``exif``."""
    across, down = (round(value * 1000) for value in dpi)
    return {
        X_RESOLUTION: exif.entry(RATIONAL, across, 1000),
        Y_RESOLUTION: exif.entry(RATIONAL, down, 1000),
        RESOLUTION_UNIT: exif.entry(SHORT, 2),
    }


def kept_for_result(exif: Exif, *, keep_gps: bool) -> Exif:
    """Return the part of a photo's metadata that also applies to the result.

    Args:
        exif: Metadata of the photo.
        keep_gps: Keep the location.

    Returns:
        Metadata with sRGB as the colour space, and without the orientation, the maker note, the
        size, and the tags that describe how a TIFF file is stored.
    """
    image = {
        tag: entry
        for tag, entry in exif.image.items()
        if tag in KEPT_TAGS - {ORIENTATION} and _is_sound(tag, entry, exif.order)
    }
    taken = {tag: entry for tag, entry in exif.exif.items() if tag not in _EXIF_DROPPED}
    if taken:
        taken[COLOR_SPACE] = exif.entry(SHORT, 1)  # sRGB
    return Exif(exif.order, image, taken, exif.gps if keep_gps else {})


def _is_sound(tag: int, entry: Entry, order: str) -> bool:
    """Return ``False`` for a resolution that would make Pillow reject the whole file."""
    if tag == RESOLUTION_UNIT:
        units = [struct.pack(order + "H", unit) for unit in (1, 2, 3)]
        return entry.type == SHORT and entry.data in units
    if tag not in (X_RESOLUTION, Y_RESOLUTION):
        return True
    is_rational = entry.type == RATIONAL and entry.count == 1
    return is_rational and 0 not in struct.unpack(order + "2I", entry.data)


def write_exif(exif: Exif) -> bytes:
    """Encode an EXIF block, without the leading ``Exif`` and two zero bytes.

    Args:
        exif: Metadata to encode. Entries are sorted by tag.

    Returns:
        The encoded block.
    """
    return header(exif.order, 8) + folders(exif, start=8)


def header(order: str, first: int) -> bytes:
    """Return the header of a TIFF file whose first folder starts at byte ``first``."""
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)


def folders(exif: Exif, *, start: int) -> bytes:
    """Encode the folders, without the header, for placement at byte ``start`` of a file."""
    others = [(tag, f) for tag, f in ((EXIF_FOLDER, exif.exif), (GPS_FOLDER, exif.gps)) if f]
    image = exif.image | {tag: Entry(LONG, 1, bytes(4)) for tag, _ in others}
    place = start + len(_folder(image, start, exif.order))
    tail = b""
    for tag, folder in others:
        image[tag] = exif.entry(LONG, place + len(tail))
        tail += _folder(folder, place + len(tail), exif.order)
    return _folder(image, start, exif.order) + tail


def _folder(folder: Mapping[int, Entry], start: int, order: str) -> bytes:
    table = struct.pack(order + "H", len(folder))
    values = b""
    place = start + 2 + 12 * len(folder) + 4
    for tag, entry in sorted(folder.items()):
        table += struct.pack(order + "HHI", tag, entry.type, entry.count)
        if len(entry.data) <= 4:
            table += entry.data.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", place + len(values))
            values += entry.data + bytes(len(entry.data) % 2)  # offsets must be even
    return table + bytes(4) + values
