// The photo, the styles and settings, the before/after comparison, and the download.

import { ask } from "./api.js";
import { followStyles, mapFor, openMap, showMap, startBrush } from "./brush.js";
import { startClassic, updateClassic } from "./classic.js";
import { commandFor } from "./command.js";
import { $, complain, fileOf, fill, forgive, keep, kept, save, say, seconds, show } from "./dom.js";
import { add, startQueue } from "./queue.js";
import {
  extensionFor, render, renderFull, resultName, scaleOf, startRendering, stem, thumbnailOf,
} from "./render.js";
import { defaultScale } from "./runner.js";
import { StrengthSlider } from "./strength.js";

const AT_ONCE = 2; // number of thumbnails drawn at the same time

let context = null;
let slider = null; // of the strength
let photo = null; // the photo that is shown, as returned by `openPhoto`
let thumbnails = null;
let current = null; // the latest request, whose result will be shown
let chosen = "";
let repainting = false; // whether a repainted version of this photo is shown

export function startPhoto(given) {
  context = given;
  slider = new StrengthSlider("strength");
  startRendering(context);
  startBrush(later);
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
    const stylise = (each, signal) =>
      renderFull(each, withMap(each, chosenSettings), format, signal);
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
  local.checked = !config.server || (!local.disabled && kept("local") === "yes");
  local.addEventListener("change", () => keep("local", local.checked ? "yes" : "no"));
  showValues();
  $("download").onclick = () => download().catch(complain);
  $("format").onchange = () => showCommand(withMap(photo, settings()));
  $("copy").onclick = () => copy().catch(complain);
  $("save-map").onclick = () => saveMap().catch(complain);
  $("open-map").onclick = () => $("map-file").click();
  $("map-file").onchange = async () => {
    const [file] = $("map-file").files;
    if (file) await openMap(file, slider.strength).then(forgive, complain);
    $("map-file").value = "";
  };
  $("panel").onsubmit = (event) => event.preventDefault();
  refreshStyles(context, "");
  if (early.length) add(early);
  if (config.jobs && artworks.length) {
    const begin = () => {
      current?.abort();
      repainting = true;
    };
    startClassic(context, { photo: () => photo, begin, isShown: () => repainting });
  }
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
  showValues();
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
  const style = find(chosen);
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
      const { name, recommended_strength: strength } = find(thumb.dataset.style);
      const settings = { styles: [{ name, weight: 1 }], strength };
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
export function takeSnapshot(blob, style, strength) {
  if (context.config.local) $("local").checked = true;
  if (style) {
    choose(style);
    slider.choose(strength);
  }
  return add([named(blob, "camera.png")]);
}

function named(blob, name) {
  return new File([blob], name, { type: blob.type, lastModified: blob.size });
}

/** Show a photo, or none. */
async function showPhoto(opened) {
  photo = opened;
  $("drop").hidden = photo !== null;
  $("compare").hidden = $("command-line").hidden = photo === null;
  updateClassic();
  $("paint").disabled = context.styles.length === 0;
  showMap(photo);
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
    strength: slider.strength,
    stroke: stroke(),
    keepColors: $("colors").checked,
  };
}

/** Add the map that is painted on a photo to the settings. */
function withMap(each, chosenSettings) {
  const styles = chosenSettings.styles.map(({ name }) => find(name));
  return { ...chosenSettings, ...mapFor(each, chosenSettings.strength, styles) };
}

/** Return the number as it is displayed, so that `--scale` with it gives the same result. */
function stroke() {
  return Number((2 ** (Number($("stroke").value) / 4)).toFixed(2));
}

function showValues() {
  const times = stroke();
  const styles = settings().styles.map(({ name }) => find(name)).filter(Boolean);
  slider.follow(styles);
  followStyles(styles);
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
    const chosenSettings = withMap(photo, settings());
    showCommand(chosenSettings);
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
  return find(name)?.title ?? name;
}

function find(name) {
  return context.styles.find((style) => style.name === name);
}

// The result

/** Show the command for the result. */
function showCommand(chosenSettings) {
  const { name, width, height } = photo;
  const all = { ...chosenSettings, scale: scaleOf(chosenSettings.stroke, defaultScale(width, height)) };
  const result = resultName(name, all, extensionFor(photo, $("format").value));
  const map = all.map && mapName();
  const words = commandFor({ photo: name, result, map }, all).split(/(?<= )/);
  $("command").replaceChildren(
    ...words.map((word) => Object.assign(document.createElement("span"), { textContent: word })),
  );
}

async function copy() {
  await navigator.clipboard.writeText($("command").textContent);
  say($("status"), "The command is in the clipboard.");
}

function mapName() {
  return `${stem(photo.name)}_map.png`;
}

async function saveMap() {
  forgive();
  const { map, strength } = withMap(photo, settings());
  if (!map) throw new Error("The map is empty. Paint on the photo first.");
  save((await fileOf(map, "image/png")).blob, mapName());
  say($("status"), `Saved as ${mapName()}. Use it with the strength ${strength}.`);
}

async function download() {
  const chosenSettings = withMap(photo, settings());
  const button = $("download");
  button.disabled = true;
  setBusy(true);
  say($("status"), "Stylising at full size …");
  try {
    const format = $("format").value || undefined;
    const { blob, name, reduced, enlarged } = await renderFull(photo, chosenSettings, format);
    save(blob, name);
    const note = reduced && ` It has only ${reduced} pixels, because this browser cannot save larger images.`;
    const soft = enlarged ? " It is enlarged: only the server paints large photos at full size." : "";
    say($("status"), `Saved as ${name}.${note ?? ""}${soft}`);
  } catch (error) {
    say($("status"), "");
    throw error;
  } finally {
    button.disabled = false;
    setBusy(false);
  }
}
