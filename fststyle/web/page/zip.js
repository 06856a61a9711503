// Writes zip files. Nothing is compressed, because images already are.

const MOST_BYTES = 0xffff_ffff;
const UTF8 = 0x0800;
const VERSION = 20;

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** Return a zip file with the given files, a list of { name, blob }. */
export async function zip(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const encoded = new TextEncoder().encode(name);
    const checksum = crc32(new Uint8Array(await blob.arrayBuffer()));
    const facts = [
      [VERSION, 2], [UTF8, 2], [0, 2], [dosTime(new Date()), 4],
      [checksum, 4], [blob.size, 4], [blob.size, 4], [encoded.length, 2], [0, 2],
    ];
    parts.push(pack([0x04034b50, 4], ...facts), encoded, blob);
    const rest = [[0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]];
    directory.push(pack([0x02014b50, 4], [VERSION, 2], ...facts, ...rest), encoded);
    offset += 30 + encoded.length + blob.size;
    if (offset > MOST_BYTES) throw new Error("A zip file cannot exceed 4 GB. Save fewer photos at a time.");
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = [files.length, 2];
  const end = pack([0x06054b50, 4], [0, 4], count, count, [size, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Return little-endian numbers of the given lengths in bytes. */
function pack(...fields) {
  const bytes = [];
  for (const [value, length] of fields) {
    for (let i = 0; i < length; i += 1) bytes.push((value >>> (8 * i)) & 255);
  }
  return Uint8Array.from(bytes);
}

function dosTime(now) {
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  return date * 2 ** 16 + time;
}

function crc32(bytes) {
  let sum = -1;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}
