from __future__ import annotations

import time
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fststyle.images.xmp import ENHANCED, followed_by, result_xmp

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
XMP = "{http://ns.adobe.com/xap/1.0/}"
EXIF = "{http://ns.adobe.com/exif/1.0/}"
NOTE = "Stylised by fststyle."

PHOTO = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Some toolkit 1.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
    xmp:CreatorTool="A camera" xmp:Rating="4" tiff:Orientation="6" hdrgm:Version="1.0"
    exif:GPSLatitude="48,51.5N" exif:FNumber="28/10">
   <dc:description><rdf:Alt>
     <rdf:li xml:lang="x-default">Fish &amp; chips &lt;tonight&gt;</rdf:li>
     <rdf:li xml:lang="de">Fisch</rdf:li>
   </rdf:Alt></dc:description>
   <dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© Zoë</rdf:li></rdf:Alt></dc:rights>
   <lr:hierarchicalSubject><rdf:Bag><rdf:li>a|b</rdf:li></rdf:Bag></lr:hierarchicalSubject>
   <exif:GPSLongitude>2,17.6E</exif:GPSLongitude>
  </rdf:Description>
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   <xmp:CreatorTool>Another</xmp:CreatorTool>
   <xmp:Thumbnails>a picture</xmp:Thumbnails>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def result(xmp: bytes, *, keep_gps: bool = False) -> bytes:
    return result_xmp(xmp, note=NOTE, software="fststyle 1.0", keep_gps=keep_gps)


def root(packet: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(packet)


def texts(packet: bytes, name: str) -> list[str | None]:
    return [element.text for element in root(packet).iter(name)]


def test_what_is_there_is_kept() -> None:
    packet = result(PHOTO)

    description = next(root(packet).iter(RDF + "Description"))
    assert description.get(XMP + "Rating") == "4"
    assert description.get(EXIF + "FNumber") == "28/10"
    items = [item.text for item in root(packet).iter(RDF + "li")]
    assert items == [f"Fish & chips <tonight>. {NOTE}", "Fisch", "© Zoë", "a|b"]
    for prefix in (b"lr:hierarchicalSubject", b"xmp:Rating", b'x:xmptk="Some toolkit 1.0"'):
        assert prefix in packet
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')


def test_what_it_is_is_said_once() -> None:
    packet = result(PHOTO)

    assert texts(packet, XMP + "CreatorTool") == ["fststyle 1.0"]
    assert texts(packet, IPTC + "DigitalSourceType") == [ENHANCED]
    assert b"A camera" not in packet
    assert result(packet) == packet


@pytest.mark.parametrize("keep_gps", [False, True])
def test_place(keep_gps: bool) -> None:
    packet = result(PHOTO, keep_gps=keep_gps)

    assert (b"48,51.5N" in packet) == keep_gps
    assert (b"2,17.6E" in packet) == keep_gps


def test_attributes_keep_quotes_and_line_breaks() -> None:
    packet = result(
        PHOTO.replace(
            b'xmp:Rating="4"',
            b"xmp:Rating=\"A 'new' &quot;camera&quot; &lt;&amp;&gt;&#10;&#13;&#9;x\"",
        )
    )
    description = next(root(packet).iter(RDF + "Description"))
    assert description.attrib[XMP + "Rating"] == "A 'new' \"camera\" <&>\n\r\tx"


def test_what_is_not_true_any_more_is_dropped() -> None:
    packet = result(PHOTO)

    for word in (b"Orientation", b"hdr-gain-map", b"Thumbnails", b"a picture"):
        assert word not in packet


def test_description_as_plain_text() -> None:
    plain = PHOTO.replace(b"xmp:Rating", b'dc:description="Plain." xmp:Rating')
    start, end = plain.index(b"<dc:description>"), plain.index(b"<dc:rights>")

    items = [item.text for item in root(result(plain[:start] + plain[end:])).iter(RDF + "li")]

    assert f"Plain. {NOTE}" in items


BOMB = b"""<!DOCTYPE x [<!ENTITY a "lollollollol">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;">
<!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;"><!ENTITY g "&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;">
]><x:xmpmeta xmlns:x="adobe:ns:meta/">&g;</x:xmpmeta>"""


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        b"junk",
        PHOTO[:900],
        BOMB,
        BOMB.decode().encode("utf-16"),
        b"<a>" * 100_000,
        b"<a>" * 1000 + b"</a>" * 1000,
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + bytes(100) + b"</x:xmpmeta>",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        b"<?xml version='1.0' encoding='klingon'?><a/>",
        b"<html><body>no</body></html>",
        b" " * 3_000_000 + PHOTO + b"x" * 3_000_000,
    ],
    ids=range(12),
)
def test_broken_or_hostile_xmp_is_replaced(xmp: bytes) -> None:
    before = time.perf_counter()

    packet = result(xmp)

    assert time.perf_counter() - before < 5
    assert packet == result(b"")
    assert texts(packet, IPTC + "DigitalSourceType") == [ENHANCED]
    assert [item.text for item in root(packet).iter(RDF + "li")] == [NOTE]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_other_encodings(encoding: str) -> None:
    body = PHOTO.decode().partition("?>\n")[2].rpartition("\n<?xpacket")[0]

    packet = result(("\ufeff" * (encoding == "utf-16-be") + body).encode(encoding))

    assert "© Zoë" in [item.text for item in root(packet).iter(RDF + "li")]


def test_odd_prefixes_do_not_clash() -> None:
    odd = (
        b'<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
        b' xmlns:dc="http://example.com/not-dublin/" xmlns:n="http://example.com/n/">'
        b'<Description n:a="1" dc:b="2"><Inner xmlns="http://example.com/default/"/></Description>'
        b"</RDF>"
    )

    packet = result(odd)

    (description,) = root(packet).iter(RDF + "Description")
    assert description.get("{http://example.com/not-dublin/}b") == "2"
    assert description.get("{http://example.com/n/}a") == "1"
    assert description.find("{http://example.com/default/}Inner") is not None
    assert description.find(DC + "description") is not None


def test_followed_by() -> None:
    assert followed_by("", "Note.") == "Note."
    assert followed_by(" A cat ", "Note.") == "A cat. Note."
    assert followed_by("A cat!", "Note.") == "A cat! Note."
    assert followed_by("A cat. Note.", "Note.") == "A cat. Note."


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_always_gives_a_whole_packet(data: st.DataObject) -> None:
    damaged = bytearray(PHOTO)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    packet = result(bytes(damaged))

    assert texts(packet, IPTC + "DigitalSourceType") == [ENHANCED]


def test_panoramas_stay_panoramas() -> None:
    space = b'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"'
    panorama = space + b' GPano:ProjectionType="equirectangular" xmp:Rating'
    depth = b' xmlns:D="http://ns.google.com/photos/1.0/depthmap/" D:Near="1" xmp:Rating'

    packet = result(PHOTO.replace(b" xmp:Rating", b" " + panorama))
    assert b'GPano:ProjectionType="equirectangular"' in packet
    assert b"Near" not in result(PHOTO.replace(b" xmp:Rating", depth))
