// Small helpers for the page.

export const $ = (id) => document.getElementById(id);

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function complain(error) {
  if (error.name === "AbortError") return;
  $("alert-text").textContent = error.message || String(error);
  $("alert").hidden = false;
  $("alert").scrollIntoView({ block: "nearest" });
}

export function forgive() {
  $("alert").hidden = true;
}

/** If a job is running, explain why no other job can be started. */
export function sayBusy(element, running) {
  say(element, running === null ? "" : `${running} is running; only one job can run at a time.`);
  element.hidden = running === null;
}

const addresses = new WeakMap();

/** Show a blob in an image element, and free the previous blob. */
export function show(image, blob) {
  if (addresses.has(image)) URL.revokeObjectURL(addresses.get(image));
  const address = URL.createObjectURL(blob);
  addresses.set(image, address);
  image.src = address;
  image.hidden = false;
  return image.decode().catch(() => {});
}

export function fill(select, options, first) {
  select.replaceChildren(
    ...(first === undefined ? [] : [new Option(first, "")]),
    ...options.map(({ name, title }) => new Option(title, name)),
  );
}

/** Offer a file for saving. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// The size of a canvas is limited: to 16 megapixels in some browsers, and by memory in all. A canvas
// that is too large has no context, stays blank, or cannot be encoded.

const STRIP_PIXELS = 1_000_000; // read at once
const AREAS = [Infinity, 16_700_000, 4_000_000, 1_000_000]; // of canvases to try, in pixels

/** Return the pixels of an image, bitmap or video frame, resized to a given size. */
export function pixelsOf(source, width, height) {
  const isWhole = source.width === width && source.height === height;
  const rows = isWhole ? Math.min(height, Math.ceil(STRIP_PIXELS / width)) : height;
  try {
    const pixels = new ImageData(width, height);
    const canvas = new OffscreenCanvas(width, rows);
    const drawing = canvas.getContext("2d", { willReadFrequently: true });
    drawing.imageSmoothingQuality = "high";
    for (let y = 0; y < height; y += rows) {
      drawing.clearRect(0, 0, width, rows);
      if (isWhole) drawing.drawImage(source, 0, -y);
      else drawing.drawImage(source, 0, 0, width, height);
      const strip = drawing.getImageData(0, 0, width, Math.min(rows, height - y));
      pixels.data.set(strip.data, 4 * width * y);
    }
    return pixels;
  } catch {
    throw new Error("This photo needs more memory than the browser has.");
  }
}

/**
 * Encode pixels as an image file. Returns { blob, reduced }, where `reduced` is the size of the image
 * if the browser can encode it only at a smaller size.
 */
export async function fileOf(pixels, type, quality) {
  const { width, height } = pixels;
  for (const area of AREAS) {
    const factor = Math.min(1, Math.sqrt(area / (width * height)));
    if (factor === 1 && area !== Infinity) continue;
    const size = [width, height].map((side) => Math.max(1, Math.floor(side * factor)));
    const blob = await encode(pixels, ...size, type, quality).catch(() => null);
    if (blob?.size) return { blob, reduced: factor < 1 ? size.join("×") : undefined };
  }
  throw new Error("This browser cannot save images of this size.");
}

async function encode(pixels, width, height, type, quality) {
  const canvas = new OffscreenCanvas(width, height);
  const drawing = canvas.getContext("2d");
  if (width === pixels.width && height === pixels.height) {
    drawing.putImageData(pixels, 0, 0);
  } else {
    const options = { resizeWidth: width, resizeHeight: height, resizeQuality: "high" };
    const bitmap = await createImageBitmap(pixels, options);
    drawing.drawImage(bitmap, 0, 0);
    bitmap.close();
  }
  if (width * height > STRIP_PIXELS && isBlank(drawing, pixels, width, height)) return null;
  if (type === "image/jpeg") {
    drawing.globalCompositeOperation = "destination-over";
    drawing.fillStyle = "#fff"; // transparent parts would become black
    drawing.fillRect(0, 0, width, height);
  }
  return canvas.convertToBlob({ type, quality });
}

/** Return whether the last opaque pixel is missing in a canvas. */
function isBlank(drawing, pixels, width, height) {
  let at = pixels.data.length - 1;
  while (at > 0 && pixels.data[at] < 255) at -= 4;
  if (at < 0) return false;
  const pixel = (at - 3) / 4;
  const x = Math.floor(((pixel % pixels.width) * width) / pixels.width);
  const y = Math.floor((Math.floor(pixel / pixels.width) * height) / pixels.height);
  return drawing.getImageData(x, y, 1, 1).data[3] === 0;
}

// Choices survive a reload if the browser lets pages store data.

export function kept(name) {
  try {
    return localStorage.getItem(`fststyle-${name}`);
  } catch {
    return null;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(`fststyle-${name}`, value);
  } catch {
    // the browser does not allow storing it
  }
}

export function seconds(value) {
  if (value < 1) return `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  return `${Math.round(value / 60)} min`;
}
