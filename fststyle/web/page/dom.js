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

/** Say why a job cannot be begun, if one runs. */
export function tellBusy(element, running) {
  say(element, running === null ? "" : `${running} is under way; one runs at a time.`);
  element.hidden = running === null;
}

const addresses = new WeakMap();

/** Show a blob in an image, and let go of the one before. */
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

export function seconds(value) {
  if (value < 1) return `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  return `${Math.round(value / 60)} min`;
}
