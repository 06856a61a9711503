// The brush: paints strengths over a photo.
//
// The strokes on each photo are kept, so that undoing one means drawing the others again. They are
// drawn twice: in colours for the screen, and in greys that stand for positions on the dial's
// scale. In both, alpha is the share that is painted.

import { $, pixelsOf, say } from "./dom.js";
import { strengthsIn } from "./pixels.js";
import { positionOf, strengthAt, StrengthSlider, strongest } from "./strength.js";

const LONGEST = 1280; // long side of a map in pixels
const CORE = 0.6; // share of the brush's radius that paints fully
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const RAMP = [[37, 99, 235], [124, 58, 237], [192, 38, 211], [225, 29, 72], [234, 88, 12], [250, 170, 20]];
const GREYS = Array.from({ length: 256 }, (_, level) => [level, level, level]);
const COLORS = GREYS.map(([level]) => {
  const step = Math.min(4, Math.floor(level / 51)); // 0, ¼, ½, 1, 2 and 4 are 51 levels apart
  return RAMP[step].map((from, c) => from + (RAMP[step + 1][c] - from) * (level / 51 - step));
});

const histories = new WeakMap(); // { done, undone } by the file of a photo
let photo = null;
let slider = null; // of the strength painted
let onChange = null;
let stroke = null; // the stroke in progress
let cursor = [0.5, 0.5];
let latest = { key: [], result: null }; // of `mapFor`

/** Set up the tools. `changed` is called after every change of a map. */
export function startBrush(changed) {
  onChange = changed;
  slider = new StrengthSlider("brush-strength");
  $("paint").onclick = () => openTools($("brush").hidden);
  $("undo").onclick = () => move("done", "undone", "Undone.", "There is nothing to undo.");
  $("redo").onclick = () => move("undone", "done", "Painted again.", "There is nothing to redo.");
  $("clear-map").onclick = () => {
    if (isEmpty()) tell("The map is already empty.");
    else add({ kind: "clear" }, "The map is empty.");
  };
  $("show-map").onchange = () => ($("map").hidden = !$("show-map").checked);
  for (const id of ["brush-size", "brush-strength"]) $(id).addEventListener("input", showTools);
  listenForPointers($("painter"));
  listenForKeys($("painter"));
}

/** Show the map of a photo, or close the tools if there is none. */
export function showMap(opened) {
  photo = opened;
  stroke = null;
  if (photo === null) return openTools(false);
  [$("map").width, $("map").height] = sizeOf(photo);
  redraw();
  place([0.5, 0.5]);
  showTools();
}

/** Give the strength painted the range of the chosen styles. */
export function followStyles(styles) {
  slider.follow(styles, strongest(styles) > 1 ? 4 : 0);
  showTools();
}

/**
 * Return the strength and the map for a photo, which has `strength` where nothing is painted. The
 * map is an opaque grey ImageData, or undefined if the whole photo has the same strength.
 */
export function mapFor(each, strength, styles) {
  const { done } = historyOf(each);
  const key = [each.file, done.length, done.at(-1), strength, strongest(styles)];
  if (key.some((value, n) => value !== latest.key[n])) {
    latest = { key, result: computeMap(each, strength, strongest(styles)) };
  }
  return latest.result;
}

/** Return the strength and the map that are painted on the photo that is shown, if there is one. */
export function currentMap(strength, styles) {
  return photo === null ? { strength } : mapFor(photo, strength, styles);
}

function computeMap(each, strength, most) {
  const { done } = historyOf(each);
  if (done.length === 0) return { strength };
  const [width, height] = sizeOf(each);
  const drawing = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  draw(drawing, done, GREYS);
  const map = drawing.getImageData(0, 0, width, height);
  const around = positionOf(strength);
  const painted = done.filter(({ kind }) => kind === "stroke").map(({ position }) => position);
  let isPainted = false;
  let highest = 0;
  const strengths = Float32Array.from({ length: width * height }, (_, i) => {
    // Drawing spots over each other may change a level by 1 or 2.
    const share = map.data[4 * i + 3] > 252 ? 1 : map.data[4 * i + 3] / 255;
    const level = map.data[4 * i] / 255;
    const target = painted.find((position) => Math.abs(position - level) < 0.01) ?? level;
    const position = around + share * (target - around);
    const here = share === 0 ? strength : Math.min(most, strengthAt(position));
    isPainted ||= share > 0;
    highest = Math.max(highest, here);
    return here;
  });
  if (!isPainted) return { strength };
  const top = Number(highest.toFixed(2));
  strengths.forEach((here, i) => {
    map.data.fill(top > 0 ? Math.round((255 * here) / top) : 0, 4 * i, 4 * i + 3);
    map.data[4 * i + 3] = 255;
  });
  return { strength: top, map };
}

/** Replace the map of the photo by an image, whose white stands for `strength`. */
export async function openMap(file, strength) {
  const chosen = photo;
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is not an image that this browser can open.`);
  });
  if (photo === null || photo !== chosen) return; // it was changed in the meantime
  const [width, height] = sizeOf(photo);
  const shares = strengthsIn(pixelsOf(bitmap, width, height).data);
  bitmap.close();
  const levels = Uint8ClampedArray.from(shares, (share) => 255 * positionOf(share * strength));
  add({ kind: "image", width, height, levels }, `The map is ${file.name}.`);
}

function historyOf({ file }) {
  if (!histories.has(file)) histories.set(file, { done: [], undone: [] });
  return histories.get(file);
}

function isEmpty() {
  const { done } = historyOf(photo);
  return done.length === 0 || done.at(-1).kind === "clear";
}

function sizeOf({ width, height }) {
  const factor = Math.min(1, LONGEST / Math.max(width, height));
  return [width, height].map((side) => Math.max(1, Math.round(side * factor)));
}

// Drawing

function draw(drawing, entries, colors) {
  const { width, height } = drawing.canvas;
  for (const entry of entries) {
    if (entry.kind === "stroke") drawStroke(drawing, entry, 0, colors);
    else drawing.clearRect(0, 0, width, height);
    if (entry.kind === "image") drawing.putImageData(imageOf(entry, colors), 0, 0);
  }
}

function imageOf({ width, height, levels }, colors) {
  const image = new ImageData(width, height);
  levels.forEach((level, i) => {
    const [red, green, blue] = colors[level];
    image.data[4 * i] = red;
    image.data[4 * i + 1] = green;
    image.data[4 * i + 2] = blue;
    image.data[4 * i + 3] = 255;
  });
  return image;
}

/** Draw a stroke, beginning with the point number `first`. */
function drawStroke(drawing, { erases, position, radius, points }, first, colors) {
  const { width, height } = drawing.canvas;
  const reach = Math.max(1, radius * Math.max(width, height));
  const stamp = stampOf(reach, colors[Math.round(255 * position)]);
  drawing.globalCompositeOperation = erases ? "destination-out" : "source-over";
  for (let n = first; n < points.length; n += 1) {
    const [x, y] = points[n];
    const [startX, startY] = points[Math.max(0, n - 1)];
    const length = Math.hypot((x - startX) * width, (y - startY) * height);
    const steps = Math.max(1, Math.ceil((4 * length) / reach));
    for (let k = 1; k <= steps; k += 1) {
      const left = (startX + ((x - startX) * k) / steps) * width - stamp.width / 2;
      const top = (startY + ((y - startY) * k) / steps) * height - stamp.height / 2;
      drawing.drawImage(stamp, Math.round(left), Math.round(top));
    }
  }
  drawing.globalCompositeOperation = "source-over";
}

/** Return a round spot with a soft edge. */
function stampOf(reach, color) {
  const side = 2 * Math.ceil(reach);
  const stamp = new OffscreenCanvas(side, side);
  const drawing = stamp.getContext("2d");
  const middle = side / 2;
  const gradient = drawing.createRadialGradient(middle, middle, CORE * reach, middle, middle, reach);
  gradient.addColorStop(0, `rgb(${color.join(" ")})`);
  gradient.addColorStop(1, `rgb(${color.join(" ")} / 0)`);
  drawing.fillStyle = gradient;
  drawing.fillRect(0, 0, side, side);
  return stamp;
}

function redraw() {
  const drawing = $("map").getContext("2d");
  drawing.clearRect(0, 0, $("map").width, $("map").height);
  draw(drawing, historyOf(photo).done, COLORS);
}

// Strokes

function begin(point) {
  const position = positionOf(slider.strength);
  stroke = { kind: "stroke", erases: $("erase").checked, position, radius: radius(), points: [] };
  extend(point);
}

function extend(point) {
  stroke.points.push(point);
  drawStroke($("map").getContext("2d"), stroke, stroke.points.length - 1, COLORS);
}

function end() {
  if (stroke === null) return;
  const { erases } = stroke;
  const entry = stroke;
  stroke = null;
  add(entry, erases ? "Erased." : `Painted with strength ${slider.strength}.`);
}

function add(entry, message) {
  const history = historyOf(photo);
  history.done.push(entry);
  history.undone = [];
  if (entry.kind !== "stroke") redraw();
  tell(message);
  showTools();
  onChange();
}

function move(from, to, message, otherwise) {
  const history = historyOf(photo);
  if (history[from].length === 0) return tell(otherwise);
  history[to].push(history[from].pop());
  redraw();
  tell(message);
  showTools();
  onChange();
}

// Pointers and keys

function listenForPointers(painter) {
  let pointer = null; // its number while it paints
  const pointOf = ({ clientX, clientY }) => {
    const { left, top, width, height } = painter.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height];
  };
  painter.onpointerdown = (event) => {
    if (pointer !== null || event.button !== 0) return;
    event.preventDefault();
    painter.focus({ preventScroll: true });
    end(); // a stroke of the keyboard
    pointer = event.pointerId;
    painter.setPointerCapture(pointer);
    place(pointOf(event));
    begin(pointOf(event));
  };
  painter.onpointermove = (event) => {
    place(pointOf(event));
    if (event.pointerId !== pointer || stroke === null) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length > 0 ? events : [event]) extend(pointOf(each));
  };
  painter.onpointerup = (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    end();
  };
  painter.onpointercancel = (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null; // it zooms the page instead
    stroke = null;
    redraw();
  };
}

function listenForKeys(painter) {
  painter.onkeydown = (event) => {
    const arrow = ARROWS[event.key];
    if (arrow) {
      event.preventDefault();
      const [width, height] = sizeOf(photo);
      const step = (radius() / 2) * Math.max(width, height);
      const [x, y] = [cursor[0] + (arrow[0] * step) / width, cursor[1] + (arrow[1] * step) / height];
      place([Math.max(0, Math.min(1, x)), Math.max(0, Math.min(1, y))]);
      if (stroke) extend(cursor);
      tell(`The brush is ${percent(cursor[0])} across and ${percent(cursor[1])} down.`);
    } else if (event.key === " ") {
      event.preventDefault();
      if (stroke === null) begin(cursor);
    }
  };
  painter.onkeyup = (event) => {
    if (event.key === " ") end();
  };
  painter.onblur = end;
  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    // A hidden part of the page, and text fields, keep the browser's own undo.
    const isElsewhere = $("brush").offsetParent === null || event.target.matches("input, textarea");
    if (isElsewhere || !(event.ctrlKey || event.metaKey) || !["z", "y"].includes(key)) return;
    event.preventDefault();
    $(key === "y" || event.shiftKey ? "redo" : "undo").click();
  });
}

// The tools

function openTools(open) {
  $("brush").hidden = $("painter").hidden = !open;
  $("frame").classList.toggle("painting", open);
  $("paint").setAttribute("aria-expanded", String(open));
}

function showTools() {
  say($("brush-size-value"), `${$("brush-size").value} %`);
  const color = COLORS[Math.round(255 * positionOf(slider.strength))];
  $("brush").style.setProperty("--paint", `rgb(${color.join(" ")})`);
  if (photo === null) return;
  const { done, undone } = historyOf(photo);
  $("undo").setAttribute("aria-disabled", String(done.length === 0));
  $("redo").setAttribute("aria-disabled", String(undone.length === 0));
  $("clear-map").setAttribute("aria-disabled", String(isEmpty()));
  place(cursor);
}

/** Return the radius of the brush as a share of the photo's long side. */
function radius() {
  return Number($("brush-size").value) / 200;
}

/** Move the ring that shows the brush. */
function place(point) {
  cursor = point;
  const { style } = $("ring");
  style.setProperty("--x", `${100 * point[0]}%`);
  style.setProperty("--y", `${100 * point[1]}%`);
  style.setProperty("--wide", `${(200 * radius() * Math.max(photo.width, photo.height)) / photo.width}%`);
}

function percent(share) {
  return `${Math.round(100 * share)} %`;
}

function tell(message) {
  say($("brush-status"), message);
}
