// The photo, the styles and settings, the before/after comparison, and the download.

import { ask, askJson, send, Trouble } from "./api.js";
import { $, complain, fill, fileOf, forgive, pixelsOf, say, sayBusy, seconds, show } from "./dom.js";
import { findJobs, registerJobs, watch } from "./jobs.js";
import { RunnerError, defaultScale, open } from "./runner.js";

const PREVIEW = 1280; // long side in pixels; also the network's working size for large photos
const THUMBNAIL = 320;
const AT_ONCE = 2; // number of thumbnails drawn at the same time
const UNKNOWN_HERE =
  "cannot be opened by this browser. Turn off “Work in this browser” to stylise it on the server.";
const EXTENSIONS = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp" };

let context = null;
let photo = null; // { file, name, width, height, preview, small, readable }
let thumbnails = null;
let current = null; // the latest request, whose result will be shown
let chosen = "";
let repainting = false; // whether a repainted version of this photo is shown
let busy = false; // whether a job is running

export function startPhoto(given) {
  context = given;
  const { config, styles, artworks } = context;
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  if (!config.server) say($("drop-privacy"), "It stays in this browser; nothing is sent.");
  else if (!here) say($("drop-privacy"), "The server deletes it after processing.");

  $("choose").onclick = $("another").onclick = () => $("file").click();
  const early = $("file").files[0]; // a file chosen before the page was ready
  $("file").onchange = () => {
    if ($("file").files.length) takePhoto($("file").files[0]);
    $("file").value = "";
  };
  $("sample").hidden = !config.sample;
  $("sample").onclick = async () => {
    try {
      takePhoto(await (await ask(config.sample)).blob(), "cat.png");
    } catch (error) {
      complain(error);
    }
  };
  listenForDrops();

  const local = $("local");
  local.checked = !config.server;
  local.disabled = !config.server || !config.local;
  if (!config.local) {
    say($("local-note"), "Not available: onnxruntime-web is not installed on the server. To install it, run scripts/vendor_ort.py from a clone of fststyle.");
  } else if (!config.server) {
    say($("local-note"), "This page works without a server; nothing is ever sent.");
  }

  $("divider").oninput = () => $("frame").style.setProperty("--at", `${$("divider").value}%`);
  for (const id of ["strength", "stroke", "blend", "share", "colors", "local"]) {
    $(id).addEventListener("input", () => {
      showValues();
      if (id === "local" && photo) drawThumbnails();
      later();
    });
  }
  // Firefox restores the values after a reload.
  $("panel").reset();
  local.checked = !config.server || (!local.disabled && kept() === "yes");
  local.addEventListener("change", () => keep(local.checked ? "yes" : "no"));
  showValues();
  $("download").onclick = () => download().catch(complain);
  $("panel").onsubmit = (event) => event.preventDefault();
  refreshStyles(context, "");
  if (early) takePhoto(early);
  if (config.jobs && artworks.length) startClassic(artworks);
}

// The choice to work in the browser survives a reload if the browser lets pages store data.

function kept() {
  try {
    return localStorage.getItem("fststyle-local");
  } catch {
    return null;
  }
}

function keep(value) {
  try {
    localStorage.setItem("fststyle-local", value);
  } catch {
    // the browser does not allow storing it
  }
}

function startClassic(artworks) {
  $("classic").hidden = false;
  fill($("artwork"), artworks);
  $("iterations").oninput = () => say($("iterations-value"), $("iterations").value);
  $("optimize").onclick = async () => {
    forgive();
    try {
      const settings = { style: $("artwork").value, iterations: $("iterations").value };
      const answer = await send("api/optimize", settings, { photo: photo.file });
      current?.abort();
      repainting = true;
      watchClassic(await answer.json(), photo.name);
    } catch (error) {
      complain(error);
      findJobs().catch(() => {});
    }
  };
  const follow = (job) => {
    $("classic").open = true;
    watchClassic(job, "photo");
  };
  registerJobs("optimize", follow, (running) => {
    busy = running !== null;
    $("optimize").disabled = busy || photo === null;
    sayBusy($("optimize-busy"), running);
  });
}

function watchClassic(job, name) {
  let shown = null;
  let offered = false;
  const onState = async (state, address) => {
    const done = state.status === "done";
    // The last image may be ready some time before the job ends.
    if (address === null || (address === shown && (offered || !done))) return;
    shown = address;
    offered = done;
    try {
      const blob = await (await ask(address)).blob();
      // The user may have chosen another photo or style in the meantime.
      if (repainting) await show($("after"), blob);
      if (!done) return;
      offerResult(blob, `${stem(name)}_${state.name}_repainted.png`);
      if (repainting) say($("status"), "This is the repainted photo. To save it, use the link below the settings for repainting.");
    } catch (error) {
      if (state.status !== "running") complain(error);
    }
  };
  const { title } = context.artworks.find((each) => each.name === job.name) ?? { title: job.name };
  watch(job, $("optimize-job"), onState, title);
}

function offerResult(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.textContent = "Save the repainted photo";
  $("optimize-job").append(link);
}

// The styles

export function refreshStyles(given, name) {
  context = given;
  const { styles } = context;
  if (!styles.some((style) => style.name === chosen)) chosen = styles[0]?.name ?? "";
  if (name && styles.some((style) => style.name === name)) chosen = name;
  const before = $("blend").value;
  fill($("blend"), styles, "no other style");
  $("blend").value = styles.some((style) => style.name === before) ? before : "";
  $("styles").replaceChildren(...styles.map(card));
  showCredit();
  if (styles.length === 0) {
    say($("credit"), "There are no trained styles yet. To train one, run: fststyle train style=thanos_poster");
  }
  if (photo) {
    drawThumbnails();
    later();
  } else if (context.config.server && context.config.sample && styles.length) {
    drawSamples();
  }
}

function card({ name, title }) {
  const part = $("style-card").content.cloneNode(true);
  const input = part.querySelector("input");
  input.value = name;
  input.checked = name === chosen;
  input.onchange = () => {
    chosen = name;
    showCredit();
    showValues();
    later();
  };
  part.querySelector(".name").textContent = title;
  part.querySelector(".card").title = title;
  part.querySelector(".thumb").dataset.style = name;
  return part;
}

function choose(name) {
  chosen = name;
  const input = document.querySelector(`#styles input[value="${CSS.escape(name)}"]`);
  if (input) input.checked = true;
  showCredit();
  showValues();
}

function showCredit() {
  const style = context.styles.find(({ name }) => name === chosen);
  if (style) say($("credit"), [style.artist, style.year].filter(Boolean).join(", "));
}

async function drawSamples() {
  // Show the sample photo in each style until a photo is chosen.
  try {
    const file = await (await ask(context.config.sample)).blob();
    const bitmap = await createImageBitmap(file);
    const small = await shrink(bitmap, THUMBNAIL, "image/jpeg", 0.92);
    if (!photo) drawThumbnails({ small });
  } catch (error) {
    complain(error);
  }
}

async function drawThumbnails(source = photo) {
  thumbnails?.abort();
  const controller = (thumbnails = new AbortController());
  const todo = [...document.querySelectorAll("#styles .thumb")];
  for (const thumb of todo) thumb.classList.add("waiting");
  const work = async () => {
    for (let thumb = todo.shift(); thumb; thumb = todo.shift()) {
      const settings = { styles: [{ name: thumb.dataset.style, weight: 1 }], strength: 1 };
      const result = await render(source.small, settings, "jpeg", controller.signal);
      if (controller.signal.aborted) return;
      await show(thumb.querySelector("img"), result);
      thumb.classList.remove("waiting");
    }
  };
  try {
    await Promise.all(Array.from({ length: $("local").checked ? 1 : AT_ONCE }, work));
  } catch (error) {
    if (controller !== thumbnails) return; // newer thumbnails are being drawn
    if (!controller.signal.aborted) complain(error);
    controller.abort();
    for (const thumb of document.querySelectorAll(".thumb")) thumb.classList.remove("waiting");
  }
}

// The photo

function listenForDrops() {
  const body = document.body;
  let depth = 0;
  const hasFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  body.addEventListener("dragenter", (event) => {
    if (!hasFile(event)) return;
    depth += 1;
    body.classList.add("dragging");
  });
  body.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (depth === 0) body.classList.remove("dragging");
  });
  body.addEventListener("dragover", (event) => {
    if (hasFile(event)) event.preventDefault();
  });
  body.addEventListener("drop", (event) => {
    depth = 0;
    body.classList.remove("dragging");
    if (!hasFile(event)) return;
    event.preventDefault();
    if ($("photo").hidden) location.hash = "#photo";
    takePhoto(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) takePhoto(file);
  });
}

/** Open a photo taken with the camera, in the same style and equally private. */
export function takeSnapshot(blob, style) {
  if (context.config.local) $("local").checked = true;
  if (style) choose(style);
  return takePhoto(blob, "camera.png");
}

/** Open a file that the visitor has chosen. */
export async function takePhoto(file, name = file.name || "photo") {
  forgive();
  const { config } = context;
  try {
    if (file.size === 0) throw new Trouble(`${name} is empty. Choose another file.`);
    if (file.size > config.most_bytes) {
      const most = Math.floor(config.most_bytes / 2 ** 20);
      const has = (file.size / 2 ** 20).toFixed(0);
      throw new Trouble(`${name} is ${has} MB; the limit is ${most} MB.`);
    }
    say($("status"), `Opening ${name} …`);
    const { bitmap, readable } = await decode(file, name);
    const { width, height } = bitmap;
    if (readable && width * height > config.most_pixels) {
      bitmap.close();
      throw new Trouble(
        `${name} has ${width}×${height} pixels; the limit is ${config.most_pixels / 1e6} ` +
          "megapixels. Make it smaller first.",
      );
    }
    const small = await shrink(bitmap, THUMBNAIL, "image/jpeg", 0.92);
    const fits = readable && Math.max(width, height) <= PREVIEW;
    const preview = fits ? file : await shrink(bitmap, PREVIEW, "image/png");
    bitmap.close();
    photo = { file, name, width, height, preview, small, readable };
    $("frame").style.setProperty("--ratio", width / height);
    $("frame").style.setProperty("--wide", width);
    await Promise.all([show($("before"), preview), show($("after"), preview)]);
    $("drop").hidden = true;
    $("compare").hidden = false;
    $("download").disabled = context.styles.length === 0;
    $("optimize").disabled = busy;
    say($("facts"), `${name}, ${width}×${height}`);
    drawPreview();
    drawThumbnails();
  } catch (error) {
    say($("status"), "");
    complain(error);
  }
}

async function decode(file, name) {
  try {
    return { bitmap: await createImageBitmap(file), readable: true };
  } catch {
    if ($("local").checked && context.config.server) throw new Trouble(`${name} ${UNKNOWN_HERE}`);
    // The server can read more formats than the browser. At strength 0, it only converts the photo.
    if (!context.config.server || context.styles.length === 0) {
      throw new Trouble(`${name} is not an image that this browser can open.`);
    }
    const settings = { style: context.styles[0].name, strength: 0, size: PREVIEW, format: "png" };
    const answer = await send("api/stylize", settings, { photo: file });
    return { bitmap: await createImageBitmap(await answer.blob()), readable: false };
  }
}

async function shrink(bitmap, longest, type, quality) {
  const factor = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * factor));
  const height = Math.max(1, Math.round(bitmap.height * factor));
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const drawing = canvas.getContext("2d");
  drawing.imageSmoothingQuality = "high";
  drawing.drawImage(bitmap, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, type, quality));
}

// The settings

function settings() {
  const other = $("blend").value;
  const share = other && other !== chosen ? Number($("share").value) / 100 : 0;
  const styles = [{ name: chosen, weight: 1 - share }];
  if (share > 0) styles.push({ name: other, weight: share });
  return {
    styles,
    strength: Number($("strength").value) / 100,
    stroke: stroke(),
    keepColors: $("colors").checked,
  };
}

/** Return the number as it is displayed, so that `--scale` with it gives the same result. */
function stroke() {
  return Number((2 ** (Number($("stroke").value) / 4)).toFixed(2));
}

function showValues() {
  const times = stroke();
  say($("strength-value"), `${$("strength").value} %`);
  say($("stroke-value"), `${times} ×`);
  say($("share-value"), `${$("share").value} %`);
  $("stroke").setAttribute("aria-valuetext", `${times} times`);
  $("share-control").hidden = ["", chosen].includes($("blend").value);
}

/** Stylise an image file on the server or in this browser. */
async function render(blob, settings, format, signal, isFull = false) {
  const { styles, strength, stroke = 1, keepColors = false } = settings;
  if (!$("local").checked) {
    const answer = await send(
      "api/stylize",
      {
        style: styles.map(({ name, weight }) => nameAndWeight(name, weight)).join(","),
        strength: strength === 1 ? undefined : strength,
        scale: stroke === 1 ? undefined : stroke * (isFull ? photo.scale : 1),
        keep_colors: keepColors || undefined,
        format,
      },
      { photo: blob },
      { signal },
    );
    return answer.blob();
  }
  const bitmap = await createImageBitmap(blob);
  if (signal?.aborted) throw new DOMException("aborted", "AbortError");
  const type = format ? `image/${format}` : EXTENSIONS[blob.type] ? blob.type : "image/png";
  const pixels = pixelsOf(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  const parts = styles.map(({ name, weight }) => ({
    url: context.config.styleAddress(name),
    weight,
  }));
  try {
    const runner = await open(parts[0].url);
    const scale = stroke * defaultScale(pixels.width, pixels.height);
    const result = await runner.stylize(pixels, { style: parts, strength, keepColors, scale });
    return await fileOf(result, type, type === "image/png" ? undefined : 0.92);
  } catch (error) {
    if (!(error instanceof RunnerError) || !context.config.server) throw error;
    throw new Trouble(`${error.message} Turn off “Work in this browser” to use the server.`, error.code);
  }
}

function nameAndWeight(name, weight) {
  return weight === 1 ? name : `${name}:${Number(weight.toFixed(4))}`;
}

let timer = 0;

function later() {
  clearTimeout(timer);
  if (photo) timer = setTimeout(drawPreview, 120);
}

async function drawPreview() {
  current?.abort();
  repainting = false;
  const controller = (current = new AbortController());
  const begin = performance.now();
  const slow = setTimeout(() => {
    setBusy(true);
    say($("status"), "Stylising …");
  }, 300);
  try {
    const chosenSettings = settings();
    const format = photo.readable ? "jpeg" : "png";
    const result = await render(photo.preview, chosenSettings, format, controller.signal);
    if (controller !== current) return;
    await show($("after"), result);
    forgive();
    const titles = chosenSettings.styles.map(({ name }) => titleOf(name)).join(" and ");
    say($("status"), `${titles}, in ${seconds((performance.now() - begin) / 1000)}.`);
  } catch (error) {
    if (controller !== current) return;
    say($("status"), "");
    complain(error);
  } finally {
    clearTimeout(slow);
    if (controller === current) setBusy(false);
  }
}

function setBusy(busy) {
  $("busy").hidden = !busy;
  $("frame").setAttribute("aria-busy", String(busy));
}

function titleOf(name) {
  return context.styles.find((style) => style.name === name)?.title ?? name;
}

// The result

async function download() {
  const chosenSettings = settings();
  const button = $("download");
  button.disabled = true;
  setBusy(true);
  say($("status"), "Stylising at full size …");
  try {
    photo.scale = defaultScale(photo.width, photo.height);
    if (!photo.readable && $("local").checked) throw new Trouble(`${photo.name} ${UNKNOWN_HERE}`);
    if (!photo.readable && chosenSettings.stroke !== 1) {
      throw new Trouble("The stroke size cannot be changed for photos that this browser cannot open.");
    }
    const format = $("format").value || undefined;
    const result = await render(photo.file, chosenSettings, format, undefined, true);
    const link = document.createElement("a");
    const address = URL.createObjectURL(result);
    const names = chosenSettings.styles.map(({ name }) => name).join("+");
    link.href = address;
    link.download = `${stem(photo.name)}_${names}.${EXTENSIONS[result.type] ?? "png"}`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    say($("status"), `Saved as ${link.download}.`);
  } catch (error) {
    say($("status"), "");
    throw error;
  } finally {
    button.disabled = false;
    setBusy(false);
  }
}

function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "photo";
}
