// Opens photos, and stylises them on the server or in this browser.

import { send, Trouble } from "./api.js";
import { nameAndWeight } from "./command.js";
import { $, fileOf, pixelsOf } from "./dom.js";
import { defaultScale, MAX_NETWORK_PIXELS, MOST_UPSCALED, open } from "./runner.js";
import { strongest } from "./strength.js";

const PREVIEW = 1280; // long side in pixels; also the network's working size for large photos
const THUMBNAIL = 320;
const UNKNOWN_HERE =
  "cannot be opened by this browser. Turn off “Work in this browser” to stylise it on the server.";
const EXTENSIONS = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp" };

let context = null;

export function startRendering(given) {
  context = given;
}

/**
 * Open a file that the visitor has chosen. Returns { file, name, width, height, readable, small,
 * preview }, where `small` is a thumbnail. `preview` is null unless it is wanted.
 */
export async function openPhoto(file, withPreview = true) {
  const { config } = context;
  const { name } = file;
  await file.slice(0, 1).arrayBuffer().catch(() => {
    throw new Trouble(`${name} cannot be read any more. Choose it again.`);
  });
  if (file.size === 0) throw new Trouble(`${name} is empty. Choose another file.`);
  if (file.size > config.most_bytes) {
    const most = Math.floor(config.most_bytes / 2 ** 20);
    const has = (file.size / 2 ** 20).toFixed(0);
    throw new Trouble(`${name} is ${has} MB; the limit is ${most} MB.`);
  }
  const { bitmap, readable } = await decode(file);
  const { width, height } = bitmap;
  try {
    if (readable && width * height > config.most_pixels) {
      throw new Trouble(
        `${name} has ${width}×${height} pixels; the limit is ${config.most_pixels / 1e6} ` +
          "megapixels. Make it smaller first.",
      );
    }
    const fits = readable && Math.max(width, height) <= PREVIEW;
    const small = await shrink(bitmap, THUMBNAIL, "image/jpeg", 0.92);
    let preview = null;
    if (withPreview) preview = fits ? file : await shrink(bitmap, PREVIEW, "image/png");
    return { file, name, width, height, readable, small, preview };
  } finally {
    bitmap.close();
  }
}

async function decode(file) {
  try {
    return { bitmap: await createImageBitmap(file), readable: true };
  } catch {
    if ($("local").checked && context.config.server) throw new Trouble(`${file.name} ${UNKNOWN_HERE}`);
    // The server can read more formats than the browser. At strength 0, it only converts the photo.
    if (!context.config.server || context.styles.length === 0) {
      throw new Trouble(`${file.name} is not an image that this browser can open.`);
    }
    const settings = { style: context.styles[0].name, strength: 0, size: PREVIEW, format: "png" };
    const answer = await send("api/stylize", settings, { photo: file });
    return { bitmap: await createImageBitmap(await answer.blob()), readable: false };
  }
}

/** Return a small version of an image file or bitmap. */
async function shrink(bitmap, longest, type, quality) {
  const factor = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * factor));
  const height = Math.max(1, Math.round(bitmap.height * factor));
  return (await fileOf(pixelsOf(bitmap, width, height), type, quality)).blob;
}

/** Return a thumbnail of an image file. */
export async function thumbnailOf(file) {
  const bitmap = await createImageBitmap(file);
  return shrink(bitmap, THUMBNAIL, "image/jpeg", 0.92);
}

/**
 * Stylise an image file on the server or in this browser. Returns { blob, reduced }, where
 * `reduced` is the size of the result if it had to be smaller than the photo.
 */
export async function render(file, settings, { format, signal, scale = 1 } = {}) {
  const { styles, strength, map, stroke = 1, keepColors = false } = settings;
  if ($("local").checked) return renderHere(file, settings, format, signal);
  const answer = await send(
    "api/stylize",
    {
      style: styles.map(({ name, weight }) => nameAndWeight(name, weight)).join(","),
      strength: strength === 1 ? undefined : strength,
      scale: scaleOf(stroke, scale),
      keep_colors: keepColors || undefined,
      format,
    },
    { photo: file, ...(map && { strength_map: (await fileOf(map, "image/png")).blob }) },
    { signal },
  );
  return { blob: await answer.blob() };
}

async function renderHere(file, settings, format, signal) {
  const { styles, strength, map, stroke = 1, keepColors = false } = settings;
  const type = format ? `image/${format}` : EXTENSIONS[file.type] ? file.type : "image/png";
  const parts = styles.map(({ name, weight }) => ({
    url: context.config.styleAddress(name),
    weight,
  }));
  try {
    const bitmap = await createImageBitmap(file);
    if (signal?.aborted) throw new DOMException("aborted", "AbortError");
    const pixels = pixelsOf(bitmap, bitmap.width, bitmap.height);
    bitmap.close();
    const runner = await open(parts[0].url);
    const scale = stroke * defaultScale(pixels.width, pixels.height);
    const options = { style: parts, strength, map, keepColors, scale };
    const result = await runner.stylize(pixels, options);
    return await fileOf(result, type, type === "image/png" ? undefined : 0.92);
  } catch (error) {
    if (error.name === "AbortError" || !context.config.server) throw error;
    throw new Trouble(`${error.message} Turn off “Work in this browser” to use the server.`, error.code);
  }
}

/** Return the scale for a stroke size, or undefined for the usual size. */
export function scaleOf(stroke, scale) {
  return stroke === 1 ? undefined : stroke * scale;
}

/** Return the file name for the result, with a style, of a photo. */
export function resultName(name, { styles }, extension) {
  return `${stem(name)}_${styles.map((style) => style.name).join("+")}.${extension}`;
}

/** Return the extension of the result for a photo, in a format or in the photo's own. */
export function extensionFor({ file, readable }, format) {
  return EXTENSIONS[format ? `image/${format}` : file.type] ?? (readable ? "png" : "jpg");
}

/**
 * Stylise a photo at full size. Returns { name, blob, reduced, enlarged }, where `name` is a file name.
 * If `enlarged`, the server would have painted the result again at full size.
 */
export async function renderFull(photo, settings, format, signal) {
  if (!photo.readable && $("local").checked) throw new Trouble(`${photo.name} ${UNKNOWN_HERE}`);
  if (!photo.readable && settings.stroke !== 1) {
    throw new Trouble("The stroke size cannot be changed for photos that this browser cannot open.");
  }
  const scale = defaultScale(photo.width, photo.height);
  const result = await render(photo.file, settings, { format, signal, scale });
  const name = resultName(photo.name, settings, EXTENSIONS[result.blob.type] ?? "png");
  const isLarge = photo.width * photo.height > MAX_NETWORK_PIXELS;
  const styles = context.styles.filter((style) => settings.styles.some((s) => s.name === style.name));
  const isSoft = (settings.stroke * scale) ** 2 > MOST_UPSCALED;
  const isSkipped = $("local").checked && isLarge && isSoft && settings.strength > 0;
  return { ...result, name, enlarged: isSkipped && strongest(styles) > 1 };
}

export function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "photo";
}
