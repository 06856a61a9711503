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

/** Return the pixels of an image, bitmap or video frame, resized to a given size. */
export function pixelsOf(source, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  drawing.drawImage(source, 0, 0, width, height);
  return drawing.getImageData(0, 0, width, height);
}

/** Encode pixels as an image file. */
export function fileOf(pixels, type, quality) {
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type, quality });
}

export function seconds(value) {
  if (value < 1) return `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  return `${Math.round(value / 60)} min`;
}
