// The photo, the styles and settings, the before/after comparison, and the download.

import { ask, send } from "./api.js";
import { $, complain, fill, forgive, save, say, sayBusy, seconds, show } from "./dom.js";
import { findJobs, registerJobs, watch } from "./jobs.js";
import { add, startQueue } from "./queue.js";
import { render, renderFull, startRendering, stem, thumbnailOf } from "./render.js";

const AT_ONCE = 2; // number of thumbnails drawn at the same time

let context = null;
let photo = null; // the photo that is shown, as returned by `openPhoto`
let thumbnails = null;
let current = null; // the latest request, whose result will be shown
let chosen = "";
let repainting = false; // whether a repainted version of this photo is shown
let busy = false; // whether a job is running

export function startPhoto(given) {
  context = given;
  startRendering(context);
  const { config, artworks } = context;
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  if (!config.server) say($("drop-privacy"), "They stay in this browser; nothing is sent.");
  else if (!here) say($("drop-privacy"), "The server deletes them after processing.");

  $("choose").onclick = $("another").onclick = () => $("file").click();
  const early = [...$("file").files]; // files chosen before the page was ready
  $("file").onchange = () => {
    if ($("file").files.length) add([...$("file").files]);
    $("file").value = "";
  };
  $("sample").hidden = !config.sample;
  $("sample").onclick = async () => {
    try {
      add([named(await (await ask(config.sample)).blob(), "cat.png")]);
    } catch (error) {
      complain(error);
    }
  };
  startQueue(showPhoto, () => {
    const chosenSettings = settings();
    const format = $("format").value || undefined;
    const names = chosenSettings.styles.map(({ name }) => name).join("+");
    const stylise = (each, signal) => renderFull(each, chosenSettings, format, signal);
    return { stylise, name: `fststyle_${names}.zip` };
  });

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
      if (id === "local" && photo) redrawThumbnails();
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
  if (early.length) add(early);
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
  if (photo) later();
  redrawThumbnails();
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

function redrawThumbnails() {
  const { config, styles } = context;
  if (photo) drawThumbnails(photo.small);
  else if (config.server && config.sample && styles.length) drawSamples().catch(complain);
}

/** Show the sample photo in each style until a photo is chosen. */
async function drawSamples() {
  const small = await thumbnailOf(await (await ask(context.config.sample)).blob());
  if (!photo) drawThumbnails(small);
}

async function drawThumbnails(small) {
  thumbnails?.abort();
  const controller = (thumbnails = new AbortController());
  const todo = [...document.querySelectorAll("#styles .thumb")];
  for (const thumb of todo) thumb.classList.add("waiting");
  const work = async () => {
    for (let thumb = todo.shift(); thumb; thumb = todo.shift()) {
      const settings = { styles: [{ name: thumb.dataset.style, weight: 1 }], strength: 1 };
      const options = { format: "jpeg", signal: controller.signal };
      const { blob } = await render(small, settings, options);
      if (controller.signal.aborted) return;
      await show(thumb.querySelector("img"), blob);
      thumb.classList.remove("waiting");
    }
  };
  try {
    await Promise.all(Array.from({ length: $("local").checked ? 1 : AT_ONCE }, work));
  } catch (error) {
    if (controller !== thumbnails) return; // newer thumbnails are being drawn
    if (!controller.signal.aborted) {
      hasFailed = true;
      complain(error);
    }
    controller.abort();
    for (const thumb of document.querySelectorAll(".thumb")) thumb.classList.remove("waiting");
  }
}

// The photo

/** Open a photo taken with the camera, in the same style and equally private. */
export function takeSnapshot(blob, style) {
  if (context.config.local) $("local").checked = true;
  if (style) choose(style);
  return add([named(blob, "camera.png")]);
}

function named(blob, name) {
  return new File([blob], name, { type: blob.type, lastModified: blob.size });
}

/** Show a photo, or none. */
async function showPhoto(opened) {
  photo = opened;
  $("drop").hidden = photo !== null;
  $("compare").hidden = photo === null;
  $("optimize").disabled = busy || photo === null;
  if (photo === null) {
    clearTimeout(timer);
    current?.abort();
    say($("status"), "");
    redrawThumbnails();
    return;
  }
  const { name, width, height, preview } = photo;
  $("frame").style.setProperty("--ratio", width / height);
  $("frame").style.setProperty("--wide", width);
  await Promise.all([show($("before"), preview), show($("after"), preview)]);
  $("download").disabled = context.styles.length === 0;
  say($("facts"), `${name}, ${width}×${height}`);
  drawPreview();
  redrawThumbnails();
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

let timer = 0;
let hasFailed = false; // whether a preview or a thumbnail failed since the last success

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
    const options = { format, signal: controller.signal };
    const { blob } = await render(photo.preview, chosenSettings, options);
    if (controller !== current) return;
    await show($("after"), blob);
    if (hasFailed) forgive();
    hasFailed = false;
    const titles = chosenSettings.styles.map(({ name }) => titleOf(name)).join(" and ");
    say($("status"), `${titles}, in ${seconds((performance.now() - begin) / 1000)}.`);
  } catch (error) {
    if (controller !== current) return;
    say($("status"), "");
    hasFailed = true;
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
    const format = $("format").value || undefined;
    const { blob, name, reduced } = await renderFull(photo, chosenSettings, format);
    save(blob, name);
    const note = reduced && ` It has only ${reduced} pixels, because this browser cannot save larger images.`;
    say($("status"), `Saved as ${name}.${note ?? ""}`);
  } catch (error) {
    say($("status"), "");
    throw error;
  } finally {
    button.disabled = false;
    setBusy(false);
  }
}
