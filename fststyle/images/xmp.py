"""XMP packets: image metadata in RDF, edited without losing any other properties.

The format is defined in ISO 16684-1 (Adobe's XMP specification, part 1). The properties written
here belong to Dublin Core, XMP itself and the IPTC Photo Metadata Standard.
"""

from __future__ import annotations

import itertools
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_META: Final = "{adobe:ns:meta/}"
_DC: Final = "{http://purl.org/dc/elements/1.1/}"
_XMP: Final = "{http://ns.adobe.com/xap/1.0/}"
_EXIF: Final = "{http://ns.adobe.com/exif/1.0/}"
_TIFF: Final = "{http://ns.adobe.com/tiff/1.0/}"
_PHOTOSHOP: Final = "{http://ns.adobe.com/photoshop/1.0/}"
_XML: Final = "{http://www.w3.org/XML/1998/namespace}"
_XML_LANG: Final = _XML + "lang"
_IPTC: Final = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"

ENHANCED: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
"""IPTC's term for a camera image that has been modified by an algorithm."""

_PREFIXES: Final = {
    _XML[1:-1]: "xml", _RDF[1:-1]: "rdf", _META[1:-1]: "x", _DC[1:-1]: "dc", _XMP[1:-1]: "xmp",
    _IPTC[1:-1]: "Iptc4xmpExt",
}  # fmt: skip

# Properties of the photo's file that do not apply to the result: previews, data stored with the
# image (depth, gain map, video), size, colour space, and the location of the rest of the packet.
_DROPPED_SPACES: Final = (
    "{http://ns.adobe.com/hdr-gain-map/1.0/}", "{http://ns.google.com/photos/1.0/",
    "{http://ns.apple.com/HDRGainMap/1.0/}", "{http://ns.apple.com/pixeldatainfo/1.0/}",
)  # fmt: skip
_PANORAMA: Final = "{http://ns.google.com/photos/1.0/panorama/}"
_DROPPED: Final = frozenset(
    (
        _XMP + "Thumbnails", _PHOTOSHOP + "ICCProfile", _TIFF + "Orientation",
        _TIFF + "ImageWidth", _TIFF + "ImageLength", _EXIF + "PixelXDimension",
        _EXIF + "PixelYDimension", _EXIF + "ColorSpace",
        "{http://ns.adobe.com/xmp/note/}HasExtendedXMP",
    )
)  # fmt: skip

_MAX_BYTES: Final = 2_000_000
_MAX_DEPTH: Final = 60
_PACKET: Final = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{}\n<?xpacket end="w"?>'


def result_xmp(xmp: bytes, *, note: str, software: str, keep_gps: bool) -> bytes:
    """Return the XMP packet of a stylised photo.

    Args:
        xmp: XMP packet of the photo. The result keeps all properties that still apply to it. An
            empty, damaged or unsafe packet is replaced with a new one.
        note: Description of the change, to be appended to the photo's own description.
        software: Value for xmp:CreatorTool.
        keep_gps: Keep the location.

    Returns:
        An XMP packet, encoded in UTF-8.
    """
    try:
        root, prefixes = _parse(xmp)
        rdf = root if root.tag == _RDF + "RDF" else root.find(_RDF + "RDF")
    except (ElementTree.ParseError, ValueError, LookupError):  # LookupError: unknown encoding
        rdf = None
    if rdf is None:
        root, prefixes = Element(_META + "xmpmeta"), dict(_PREFIXES)
        rdf = SubElement(root, _RDF + "RDF")
    _drop(rdf, keep_gps=keep_gps)
    descriptions = rdf.findall(_RDF + "Description")
    if not descriptions:
        descriptions = [SubElement(rdf, _RDF + "Description", {_RDF + "about": ""})]
    _set_text(descriptions, _XMP + "CreatorTool", software)
    _set_text(descriptions, _IPTC + "DigitalSourceType", ENHANCED)
    _add_to_description(descriptions, note)
    return _PACKET.format(_serialise(root, prefixes)).encode("utf-8", "replace")


class _SafeBuilder(ElementTree.TreeBuilder):
    """A tree builder that records namespace prefixes and rejects XML bombs."""

    def __init__(self) -> None:
        super().__init__()
        self.prefixes = dict(_PREFIXES)
        self._depth = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type could define entities")

    def start_ns(self, prefix: str, uri: str) -> None:
        if prefix and prefix not in self.prefixes.values():
            self.prefixes.setdefault(uri, prefix)

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def _parse(xmp: bytes) -> tuple[Element, dict[str, str]]:
    """Parse a packet, and return its root and the prefix for each namespace."""
    if len(xmp) > _MAX_BYTES:
        raise ValueError("too large")
    builder = _SafeBuilder()
    parser: ElementTree.XMLParser[Element] = ElementTree.XMLParser(target=builder)
    is_wide = xmp[:2] in (b"\xff\xfe", b"\xfe\xff")  # UTF-16, where zero bytes are significant
    parser.feed(xmp if is_wide else xmp.strip(b"\0 \r\n\t"))
    return parser.close(), builder.prefixes


def _is_dropped(name: str, *, keep_gps: bool) -> bool:
    if name.startswith(_EXIF + "GPS"):
        return not keep_gps
    is_kept = name.startswith(_PANORAMA)  # viewers scale its numbers to the size of the image
    return name in _DROPPED or (name.startswith(_DROPPED_SPACES) and not is_kept)


def _drop(element: Element, *, keep_gps: bool) -> None:
    for name in [name for name in element.attrib if _is_dropped(name, keep_gps=keep_gps)]:
        del element.attrib[name]
    for child in list(element):
        if _is_dropped(child.tag, keep_gps=keep_gps):
            element.remove(child)
        else:
            _drop(child, keep_gps=keep_gps)


def _set_text(descriptions: list[Element], name: str, text: str) -> None:
    for description in descriptions:
        description.attrib.pop(name, None)
        for old in description.findall(name):
            description.remove(old)
    SubElement(descriptions[0], name).text = text


def _add_to_description(descriptions: list[Element], note: str) -> None:
    name = _DC + "description"
    found = [property_ for d in descriptions if (property_ := d.find(name)) is not None]
    property_ = found[0] if found else SubElement(descriptions[0], name)
    plain = [(property_.text or "").strip(), *(d.attrib.pop(name, "") for d in descriptions)]
    texts = property_.findall(f"{_RDF}Alt/{_RDF}li")
    text = next((t for t in texts if t.get(_XML_LANG) == "x-default"), texts[0] if texts else None)
    if text is None:
        property_.text = None
        text = SubElement(SubElement(property_, _RDF + "Alt"), _RDF + "li")
        text.set(_XML_LANG, "x-default")
        text.text = next(filter(None, plain), "")
    text.text = followed_by(text.text or "", note)


def followed_by(description: str, note: str) -> str:
    """Append a note to a description as a new sentence, unless it already contains the note."""
    description = description.strip()
    if not description or note in description:
        return description or note
    return f"{description} {note}" if description[-1] in ".!?" else f"{description}. {note}"


def _serialise(root: Element, prefixes: dict[str, str]) -> str:
    """Serialise a tree with its own prefixes. ElementTree would register the prefixes globally."""
    spaces: dict[str, str] = {}

    def prefixed(name: str) -> str:
        uri, brace, local = name[1:].partition("}")
        if not brace:
            return name
        if uri not in prefixes:
            names = (f"ns{number}" for number in itertools.count(1))
            prefixes[uri] = next(name for name in names if name not in prefixes.values())
        if uri != _XML[1:-1]:
            spaces[uri] = f"xmlns:{prefixes[uri]}"
        return f"{prefixes[uri]}:{local}"

    for element in root.iter():
        element.tag = prefixed(element.tag)
        element.attrib = {prefixed(name): value for name, value in element.attrib.items()}
    root.attrib = {spaces[uri]: uri for uri in sorted(spaces)} | root.attrib
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
