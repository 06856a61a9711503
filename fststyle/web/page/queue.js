// The list of photos: adding, choosing and removing them, and saving all results as a zip file.

import { $, complain, forgive, save, say, show } from "./dom.js";
import { openPhoto } from "./render.js";
import { zip } from "./zip.js";

const MOST = 500; // photos in the list
const PASSED_OVER = /^(\.|(@eaDir|__MACOSX|#recycle|\$RECYCLE\.BIN|Thumbs\.db|desktop\.ini)$)/i;
const STATES = { waiting: "", working: "working", done: "done", failed: "failed" };

let items = []; // { file, key, photo, element }
let current = null; // the item that is shown
let wanted = null; // the item that was chosen last, and may still be opening
let choosePhoto = null;
let prepare = null;
let saving = null;
let adding = Promise.resolve();

/**
 * `choose` is called with the photo to show, or with null. `prepareAll` is called before all photos
 * are saved, and returns a function that stylises one photo with the present settings.
 */
export function startQueue(choose, prepareAll) {
  choosePhoto = choose;
  prepare = prepareAll;
  $("clear").onclick = () => [...items].forEach(remove);
  $("save-all").onclick = () => (saving ? saving.abort() : saveAll().catch(complain));
  listenForDrops();
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) add([...event.clipboardData.files]);
  });
}

/** Add files to the list, and show the first of them. `passedOver` are names of others. */
export function add(files, passedOver = []) {
  adding = adding.then(() => addNow(files, passedOver)).catch(complain);
  return adding;
}

async function addNow(files, passedOver) {
  forgive();
  const problems = [];
  const fresh = [];
  const failed = []; // names of files
  let reason = "";
  let first = null;
  for (const file of files) {
    const key = [file.name, file.size, file.lastModified].join("/");
    const known = items.find((item) => item.key === key);
    if (known) first ??= known;
    if (known && files.length > 1) passedOver.push(`${file.name} (twice)`);
    if (known || items.length >= MOST) continue;
    const item = { file, key, photo: null, element: elementOf(file.name) };
    item.element.querySelector(".tray-open").onclick = () => choose(item).catch(complain);
    item.element.querySelector(".tray-remove").onclick = () => remove(item);
    item.element.onkeydown = (event) => {
      if (event.key === "Delete") remove(item);
    };
    items.push(item);
    fresh.push(item);
  }
  if (files.length > 1 && items.length >= MOST) problems.push(`The list holds at most ${MOST} photos.`);
  $("tray-list").append(...fresh.map(({ element }) => element));
  if (first) await choose(first);
  for (const [n, item] of fresh.entries()) {
    if (!items.includes(item)) continue; // removed in the meantime
    showCount(fresh.length > 1 ? `Opening ${n + 1} of ${fresh.length} …` : "");
    try {
      if (first) item.photo ??= await openPhoto(item.file, false);
      else await choose(item);
      first ??= item;
      await show(item.element.querySelector("img"), item.photo.small);
    } catch (error) {
      failed.push(item.file.name);
      reason ||= error.message;
      remove(item);
    }
  }
  showCount();
  if (failed.length && files.length > 1) problems.push(`Cannot open ${listOf(failed)}.`);
  if (failed.length) problems.push(reason);
  if (passedOver.length) problems.push(`Passed over: ${listOf(passedOver)}.`);
  if (problems.length) complain(new Error(problems.join(" ")));
}

function listOf(names) {
  const shown = names.slice(0, 4).join(", ");
  return names.length > 4 ? `${shown} and ${names.length - 4} more` : shown;
}

function elementOf(name) {
  const element = $("tray-item").content.firstElementChild.cloneNode(true);
  element.querySelector(".tray-name").textContent = name;
  element.querySelector(".tray-open").title = name;
  element.querySelector(".tray-remove").setAttribute("aria-label", `Remove ${name}`);
  element.querySelector("progress").setAttribute("aria-label", `Stylising ${name}`);
  return element;
}

async function choose(item) {
  wanted = item;
  item.photo = item.photo?.preview ? item.photo : await openPhoto(item.file);
  if (wanted !== item || !items.includes(item)) return;
  if (current && current !== item && current.photo) current.photo.preview = null; // to free memory
  current = item;
  for (const each of items) {
    const button = each.element.querySelector(".tray-open");
    if (each === item) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  item.element.scrollIntoView({ block: "nearest", inline: "nearest" });
  await choosePhoto(item.photo);
}

function remove(item) {
  const at = items.indexOf(item);
  if (at === -1) return;
  const hadFocus = item.element.contains(document.activeElement);
  items.splice(at, 1);
  item.element.remove();
  const next = items[Math.min(at, items.length - 1)];
  if (hadFocus && next) next.element.querySelector(".tray-open").focus();
  if (current === item) {
    current = null;
    if (next) choose(next).catch(complain);
    else choosePhoto(null);
  }
  showCount();
}

function showCount(text = "") {
  $("tray").hidden = items.length < 2;
  say($("tray-count"), text || `${items.length} photos`);
}

function mark(item, state) {
  item.element.dataset.state = state;
  item.element.querySelector("progress").hidden = state !== "working";
  say(item.element.querySelector(".tray-state"), STATES[state]);
}

async function saveAll() {
  forgive();
  const { stylise, name } = prepare();
  const { signal } = (saving = new AbortController());
  const all = [...items];
  const files = [];
  const problems = [];
  say($("save-all"), "Cancel");
  for (const item of all) mark(item, "waiting");
  try {
    for (const [n, item] of all.entries()) {
      if (signal.aborted) break;
      showCount(`Stylising ${n + 1} of ${all.length} …`);
      mark(item, "working");
      try {
        item.photo ??= await openPhoto(item.file, false);
        const result = await stylise(item.photo, signal);
        if (result.reduced) problems.push(`${result.name} has only ${result.reduced} pixels, because this browser cannot save larger images.`);
        files.push({ name: unused(result.name, files), blob: result.blob });
        mark(item, "done");
      } catch (error) {
        if (error.name !== "AbortError") problems.push(`${item.file.name}: ${error.message}`);
        mark(item, signal.aborted ? "waiting" : "failed");
      }
    }
    if (files.length && !signal.aborted) save(await zip(files), name);
    const count = `${files.length} of ${all.length} photos`;
    say($("status"), signal.aborted ? "Nothing was saved." : files.length ? `Saved ${count} as ${name}.` : "");
    if (problems.length) complain(new Error(problems.slice(0, 3).join(" ")));
  } finally {
    saving = null;
    say($("save-all"), "Save all as a zip");
    showCount();
  }
}

function unused(name, files) {
  const dot = name.lastIndexOf(".");
  let free = name;
  for (let n = 2; files.some((file) => file.name === free); n += 1) {
    free = `${name.slice(0, dot)}_${n}${name.slice(dot)}`;
  }
  return free;
}

// Dropped files and folders

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
    addDropped(event.dataTransfer).catch(complain);
  });
}

async function addDropped(transfer) {
  const found = [];
  const passedOver = [];
  // All entries must be taken before the first wait.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  for (const entry of entries) if (entry) await collect(entry, found, passedOver);
  if (found.length === 0) {
    throw new Error(`This folder contains no photos.${passedOver.length ? ` Passed over: ${listOf(passedOver)}.` : ""}`);
  }
  await add(found, passedOver);
}

/** Find the files in a dropped folder, without those that are certainly not photos. */
async function collect(entry, found, passedOver, inFolder = false) {
  if (inFolder && PASSED_OVER.test(entry.name)) {
    passedOver.push(entry.name);
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      some.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
      for (const each of some) await collect(each, found, passedOver, true);
    }
  } else {
    const file = entry.isFile
      ? await new Promise((resolve, reject) => entry.file(resolve, reject))
      : entry;
    const isOther = inFolder && file.type !== "" && !file.type.startsWith("image/");
    (isOther ? passedOver : found).push(isOther ? file.name : file);
  }
}
