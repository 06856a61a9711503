// Runs trained styles in the browser. Works in pages and in workers, because it uses no DOM:
//
//   import { open } from "./runner.js";
//   const runner = await open("styles/great_wave.onnx");
//   const result = await runner.stylize(imageData, { strength: 0.8 });
//
// The network runs in a worker, which loads this same module. onnxruntime-web is expected in the
// folder ort/ next to it, and pixels.js too. The calculations are the same as in the Python package.
// Styles with a dial must be in the form that `fststyle serve --export` writes.

const WORKER_NAME = "fststyle-runner";
const ORT = new URL("ort/", import.meta.url);

import {
  between, fromBytes, intoBytes, mix, resize, round, strengthsIn, stretch, upscale, withColorsOf,
} from "./pixels.js";

const MAX_SESSIONS = 6;
const MAX_PIXELS = 26_000_000; // in a photo
export const MAX_NETWORK_PIXELS = 4_500_000; // in the network's input
const MIN_SIDE = 5; // of the photo and of the network's input

const WORKING_SIDE = 1280;
const STRONGEST = 4; // strengths of styles with a dial, as in fststyle/styles/dial.py
const WEAKEST = 1 / STRONGEST;
export const MOST_UPSCALED = 2; // as in fststyle/stylize/strokes.py
const REPAINT = 0.5; // as in fststyle/stylize/strokes.py

/** An error with a `code`: `too_large`, `too_small`, `no_style`, `no_dial` or `no_runtime`. */
export class RunnerError extends Error {
  constructor(message, code) {
    super(message);
    this.name = "RunnerError";
    this.code = code;
  }
}

/** Return the brush stroke size that suits a photo: 1 if its long side has at most 1280 pixels. */
export function defaultScale(width, height) {
  return Math.max(1, Math.max(width, height) / WORKING_SIDE);
}

/** Load a style file and return a `Runner`. */
export async function open(styleUrl) {
  const url = absolute(styleUrl);
  await ask({ task: "open", url });
  return new Runner(url);
}

class Runner {
  constructor(url) {
    this.url = url;
  }

  /**
   * Stylise an ImageData. Returns a new ImageData with the same size and transparency.
   *
   * Options:
   *   style: URL of another style, or [{ url, weight }, …] to blend several styles. The weights
   *     must add up to 1. By default, the style that was opened.
   *   strength: from 0 (the unchanged photo) to 4, by default 1. Styles without a dial can only be
   *     applied at strengths up to 1.
   *   map: strength for each pixel: an ImageData of any size, where `strength` applies to white
   *     pixels and 0 to black or transparent ones, or a Float32Array with width × height factors in
   *     [0, 1]. By default, `strength` applies everywhere.
   *   seed: reserved for styles with random input; currently has no effect.
   *   scale: size of the brush strokes; by default, the result of `defaultScale`.
   *   keepColors: keep the photo's colours and use only the brightness of the stylised image.
   */
  async stylize(image, options = {}) {
    const { style = this.url, strength = 1, map = null, keepColors = false } = options;
    const { width, height } = image;
    if (!(strength >= 0 && strength <= STRONGEST)) {
      throw new RangeError(`strength must be a number from 0 to ${STRONGEST}, not ${strength}`);
    }
    if (map instanceof Float32Array && map.length !== width * height) {
      throw new RangeError(`map must have ${width * height} values, not ${map.length}`);
    }
    const { scale = defaultScale(width, height) } = options;
    const styles = typeof style === "string" ? [{ url: style, weight: 1 }] : style;
    const data = await ask({
      task: "stylize",
      data: image.data,
      width,
      height,
      styles: styles.map(({ url, weight }) => ({ url: absolute(url), weight })),
      strength,
      map,
      scale,
      keepColors,
    });
    return new ImageData(data, width, height);
  }
}

function absolute(url) {
  return new URL(url, self.location.href).href;
}

// The interface to the worker

let worker = null;
let nextId = 0;
const waiting = new Map();

function ask(request) {
  worker ??= startWorker();
  const id = nextId++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ ...request, id });
  });
}

function startWorker() {
  const started = new Worker(import.meta.url, { type: "module", name: WORKER_NAME });
  started.onmessage = ({ data: { id, error, code, result } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new RunnerError(error, code));
  };
  started.onerror = () => {
    worker = null;
    for (const { reject } of waiting.values()) {
      reject(new RunnerError("This browser cannot run styles.", "no_runtime"));
    }
    waiting.clear();
  };
  return started;
}

// Inside the worker

const sessions = new Map(); // by URL; the most recently used session comes last
let runtime = null;
let lastTask = Promise.resolve();

if (typeof WorkerGlobalScope !== "undefined" && self.name === WORKER_NAME) {
  self.onmessage = ({ data }) => {
    // Run one task at a time, because the sessions share their memory.
    lastTask = lastTask.then(async () => {
      try {
        const result = data.task === "open" ? void (await load(data.url)) : await stylize(data);
        self.postMessage({ id: data.id, result }, result ? [result.buffer] : []);
      } catch (error) {
        const { message, code } = error instanceof RunnerError ? error : reasonFor(error);
        self.postMessage({ id: data.id, error: message, code });
      }
    });
  };
}

/** Return the message and the code for an error of the browser or of onnxruntime-web. */
function reasonFor(error) {
  const text = String(error?.message ?? error);
  return error instanceof RangeError || /bad_alloc|memory|allocat/i.test(text)
    ? new RunnerError("This photo needs more memory than the browser has.", "too_large")
    : new RunnerError(`The style cannot be run in this browser (${text}).`, "internal");
}

async function stylize({ data, width, height, styles, strength, map, scale, keepColors }) {
  if (width * height > MAX_PIXELS) {
    throw new RunnerError("This photo is too large for the browser.", "too_large");
  }
  if (Math.min(width, height) < MIN_SIDE) {
    throw new RunnerError("This photo is too small for the browser.", "too_small");
  }
  const photo = fromBytes(data, width, height);
  const small = [width, height].map((side) => Math.max(MIN_SIDE, round(side / scale)));
  if (small[0] * small[1] > MAX_NETWORK_PIXELS) {
    throw new RunnerError("Strokes this fine need more memory than the browser has.", "too_large");
  }
  const input = resize(photo, ...small);
  const sessions = [];
  for (const { url } of styles) sessions.push(await load(url));
  if (strength > 1 && !sessions.every(hasDial)) {
    throw new RunnerError("The style has no dial, so its strength can be at most 1.", "no_dial");
  }
  if (strength === 0) return data;
  const strengths = map === null ? strength : mapped(map, strength, photo);
  const alike = sessions.every((session) => hasDial(session) === hasDial(sessions[0]));
  const paint = async (image, factor) => {
    const scaled = forEach(strengths, (s) => factor * s);
    const local = stretch(scaled, photo, image.width, image.height);
    const images = [];
    for (const session of sessions) {
      const painted = await run(session, image, local);
      images.push(alike ? painted : between(image, painted, shareOf(session, local)));
    }
    return mix(images, styles.map(({ weight }) => weight));
  };
  let result = await paint(input, 1);
  if (small[0] > width || small[1] > height) result = resize(result, width, height);
  else if (small[0] !== width || small[1] !== height) {
    result = upscale(result, input, photo);
    const isSoft = width * height > MOST_UPSCALED * small[0] * small[1];
    const fits = width * height <= MAX_NETWORK_PIXELS;
    if (isSoft && fits && sessions.every(hasDial)) {
      const repainted = await paint(result, REPAINT);
      result = between(result, repainted, repaintedShare(strengths));
    }
  }
  if (keepColors) result = withColorsOf(photo, result);
  // If they differ, each result is already blended, but upscaling may have changed it.
  const shares = alike ? shareOf(sessions[0], strengths) : forEach(strengths, Math.sign);
  result = between(photo, result, shares);
  intoBytes(result, data);
  return data;
}

// Styles with a dial, as in fststyle/styles/dial.py

function hasDial(session) {
  return session.inputNames.includes("position");
}

/** Return the strength for each pixel of a photo. */
function mapped(map, strength, { width, height }) {
  const factors =
    map instanceof Float32Array ? map : stretch(strengthsIn(map.data), map, width, height);
  return factors.map((factor) => strength * Math.max(0, Math.min(1, factor)));
}

/** Return a function of a strength for a number or a plane of strengths. */
function forEach(strengths, value) {
  return typeof strengths === "number" ? value(strengths) : strengths.map(value);
}

/** Return the share of a network's result. The rest is the photo. */
function shareOf(session, strengths) {
  return hasDial(session) ? forEach(strengths, (s) => Math.min(1, s / WEAKEST)) : strengths;
}

/** Return the share of the second pass, which gives weakly painted parts a colour cast. */
function repaintedShare(strengths) {
  if (typeof strengths === "number") return 1;
  const strongest = Math.min(1, strengths.reduce((most, s) => Math.max(most, s), 1e-30));
  return strengths.map((s) => Math.min(1, s / strongest) ** 4);
}

/** Return the positions of the dial: one, or a map whose sides are multiples of 4. */
function positionsOf(strengths, width, height) {
  const positions = forEach(strengths, (s) => 2 * Math.log2(Math.max(WEAKEST, s)));
  if (typeof positions === "number") {
    return new runtime.Tensor("float32", Float32Array.of(positions), [1, 1, 1, 1]);
  }
  const [columns, rows] = [width, height].map((side) => 4 * Math.ceil(side / 4));
  const extended = Float32Array.from({ length: columns * rows }, (_, i) => {
    const [x, y] = [i % columns, Math.floor(i / columns)];
    return positions[Math.min(y, height - 1) * width + Math.min(x, width - 1)];
  });
  return new runtime.Tensor("float32", extended, [1, 1, rows, columns]);
}

async function run(session, { width, height, planes }, strengths) {
  const input = new Float32Array(3 * width * height);
  planes.forEach((plane, c) => input.set(plane, c * width * height));
  const inputs = { photo: new runtime.Tensor("float32", input, [1, 3, height, width]) };
  if (hasDial(session)) inputs.position = positionsOf(strengths, width, height);
  const { picture } = await session.run(inputs);
  return {
    width,
    height,
    planes: [0, 1, 2].map((c) => picture.data.slice(c * width * height, (c + 1) * width * height)),
  };
}

async function load(url) {
  runtime ??= await loadRuntime();
  let session = sessions.get(url);
  sessions.delete(url);
  if (session === undefined) {
    const response = await fetch(url);
    if (!response.ok) throw new RunnerError("The style file cannot be downloaded.", "no_style");
    const file = new Uint8Array(await response.arrayBuffer());
    session = await runtime.InferenceSession.create(file, { executionProviders: ["wasm"] });
  }
  sessions.set(url, session);
  if (sessions.size > MAX_SESSIONS) {
    const [oldest] = sessions.keys();
    await sessions.get(oldest).release();
    sessions.delete(oldest);
  }
  return session;
}

async function loadRuntime() {
  let ort;
  try {
    ort = await import(new URL("ort.js", ORT).href);
  } catch {
    throw new RunnerError("onnxruntime-web cannot be loaded.", "no_runtime");
  }
  ort.env.wasm.wasmPaths = {
    mjs: new URL("ort-wasm.js", ORT).href,
    wasm: new URL("ort-wasm.wasm", ORT).href,
  };
  const cores = navigator.hardwareConcurrency || 1;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, cores) : 1;
  ort.env.logLevel = "error";
  return ort;
}
