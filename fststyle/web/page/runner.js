// Runs trained styles in the browser. Works in pages and in workers, because it uses no DOM:
//
//   import { open } from "./runner.js";
//   const runner = await open("styles/great_wave.onnx");
//   const result = await runner.stylize(imageData, { strength: 0.8 });
//
// The network runs in a worker, which loads this same module. onnxruntime-web is expected in the
// folder ort/ next to it. The calculations are the same as in the Python package.

const WORKER_NAME = "fststyle-runner";
const ORT = new URL("ort/", import.meta.url);

const MAX_SESSIONS = 6;
const MAX_PIXELS = 26_000_000; // in a photo
const MAX_NETWORK_PIXELS = 4_500_000; // in the network's input
const MIN_SIDE = 5; // of the photo and of the network's input

const LOBES = 3; // of the Lanczos filter
const DETAIL = 0.5; // as in fststyle/stylize/strokes.py
const WORKING_SIDE = 1280;
const LUMINANCE = [0.299, 0.587, 0.114];

/** An error with a `code`: `too_large`, `too_small`, `no_style` or `no_runtime`. */
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
   *   strength: from 0 (the unchanged photo) to 1 (the full style, the default).
   *   map: strength for each pixel, a Float32Array with width × height values in [0, 1]. They are
   *     multiplied by `strength`. By default, 1 everywhere.
   *   seed: reserved for styles with random input; currently has no effect.
   *   scale: size of the brush strokes; by default, the result of `defaultScale`.
   *   keepColors: keep the photo's colours and use only the brightness of the stylised image.
   */
  async stylize(image, options = {}) {
    const { style = this.url, strength = 1, map = null, keepColors = false } = options;
    const { width, height } = image;
    if (map !== null && map.length !== width * height) {
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
  const images = [];
  for (const { url } of styles) images.push(await run(url, input));
  let result = mix(images, styles.map(({ weight }) => weight));
  if (small[0] > width || small[1] > height) result = resize(result, width, height);
  else if (small[0] !== width || small[1] !== height) result = upscale(result, input, photo);
  if (keepColors) result = withColorsOf(photo, result);
  result = between(photo, result, strength, map);
  intoBytes(result, data);
  return data;
}

async function run(url, { width, height, planes }) {
  const session = await load(url);
  const input = new Float32Array(3 * width * height);
  planes.forEach((plane, c) => input.set(plane, c * width * height));
  const tensor = new runtime.Tensor("float32", input, [1, 3, height, width]);
  const { picture } = await session.run({ photo: tensor });
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

// Images are { width, height, planes: [red, green, blue] }, each a Float32Array in [0, 1].

/** Round as Python does: halves go to the nearest even number. */
function round(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

function fromBytes(data, width, height) {
  const planes = [0, 1, 2].map(() => new Float32Array(width * height));
  for (let i = 0, at = 0; i < width * height; i += 1, at += 4) {
    for (let c = 0; c < 3; c += 1) planes[c][i] = data[at + c] / 255;
  }
  const weights = Float32Array.from({ length: width * height }, (_, i) => (data[4 * i + 3] ? 1 : 0));
  const image = { width, height, planes };
  fillInvisible(image, weights);
  return image;
}

/**
 * Replace the colours of invisible pixels, whose weight is 0, with those of the visible pixels
 * around them, taken from blocks of 2×2, 4×4, … pixels.
 */
function fillInvisible({ width, height, planes }, weights) {
  if (width * height === 1 || weights.every((weight) => weight > 0)) return;
  const [columns, rows] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const blockOf = (i) => (Math.floor(i / width) >> 1) * columns + ((i % width) >> 1);
  const blockWeights = new Float32Array(columns * rows);
  const blocks = planes.map(() => new Float32Array(columns * rows));
  weights.forEach((weight, i) => {
    blockWeights[blockOf(i)] += weight;
    blocks.forEach((block, c) => (block[blockOf(i)] += weight * planes[c][i]));
  });
  for (const block of blocks) {
    blockWeights.forEach((weight, k) => (block[k] /= Math.max(1, weight)));
  }
  fillInvisible({ width: columns, height: rows, planes: blocks }, blockWeights);
  weights.forEach((weight, i) => {
    if (weight === 0) planes.forEach((plane, c) => (plane[i] = blocks[c][blockOf(i)]));
  });
}

/** Write an image into the photo's RGBA bytes, keeping the photo's transparency. */
function intoBytes({ planes, width, height }, data) {
  for (let i = 0, at = 0; i < width * height; i += 1, at += 4) {
    for (let c = 0; c < 3; c += 1) data[at + c] = round(clamp(planes[c][i]) * 255);
  }
}

/** Resize with a Lanczos filter, as Pillow does. */
function resize(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const across = weights(image.width, width);
  const down = weights(image.height, height);
  const planes = image.planes.map((plane) => {
    const narrow = new Float32Array(width * image.height);
    for (let y = 0; y < image.height; y += 1) {
      const row = y * image.width;
      for (let x = 0; x < width; x += 1) {
        const { first, share } = across[x];
        let sum = 0;
        for (let k = 0; k < share.length; k += 1) sum += plane[row + first + k] * share[k];
        narrow[y * width + x] = sum;
      }
    }
    const result = new Float32Array(width * height);
    for (let y = 0; y < height; y += 1) {
      const { first, share } = down[y];
      for (let x = 0; x < width; x += 1) {
        let sum = 0;
        for (let k = 0; k < share.length; k += 1) sum += narrow[(first + k) * width + x] * share[k];
        result[y * width + x] = clamp(sum);
      }
    }
    return result;
  });
  return { width, height, planes };
}

function weights(before, after) {
  const scale = before / after;
  const stretch = Math.max(1, scale);
  const reach = LOBES * stretch;
  return Array.from({ length: after }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(before, Math.trunc(center + reach + 0.5));
    const share = Float64Array.from({ length: end - first }, (_, k) =>
      lanczos((k + first - center + 0.5) / stretch),
    );
    const total = share.reduce((sum, value) => sum + value, 0);
    return { first, share: share.map((value) => value / total) };
  });
}

function lanczos(x) {
  if (x <= -LOBES || x >= LOBES) return 0;
  return sinc(x) * sinc(x / LOBES);
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Return the weighted mean of images with the same size. The weights must add up to 1. */
function mix(images, shares) {
  if (images.length === 1) return images[0];
  return create(images[0], (c, i) =>
    clamp(images.reduce((sum, image, n) => sum + shares[n] * image.planes[c][i], 0)),
  );
}

/** Blend two images: `amount` 0 gives the first, 1 the second. `map` scales `amount` per pixel. */
function between(start, end, amount, map) {
  if (amount === 1 && map === null) return end;
  return create(start, (c, i) => {
    const share = map === null ? amount : amount * clamp(map[i]);
    return clamp((1 - share) * start.planes[c][i] + share * end.planes[c][i]);
  });
}

/** Upscale a stylised image and add the photo's fine luminance detail, lost by downscaling. */
function upscale(image, input, photo) {
  const { width, height } = photo;
  const painted = resize(image, width, height);
  const plain = resize(input, width, height);
  for (let i = 0; i < width * height; i += 1) {
    let lost = 0;
    for (let c = 0; c < 3; c += 1) {
      lost += LUMINANCE[c] * (photo.planes[c][i] - plain.planes[c][i]);
    }
    for (let c = 0; c < 3; c += 1) {
      painted.planes[c][i] = clamp(painted.planes[c][i] + DETAIL * lost);
    }
  }
  return painted;
}

/** Apply the photo's colours to an image. Out-of-range colours are desaturated, not clipped. */
function withColorsOf(photo, image) {
  const result = create(photo, () => 0);
  const color = [0, 0, 0];
  for (let i = 0; i < photo.width * photo.height; i += 1) {
    const level = luma(image.planes, i);
    const own = luma(photo.planes, i);
    let fits = 1;
    for (let c = 0; c < 3; c += 1) {
      color[c] = photo.planes[c][i] - own;
      const room = color[c] > 0 ? 1 - level : level;
      fits = Math.min(fits, room / Math.max(Math.abs(color[c]), 1e-6));
    }
    fits = Math.max(0, fits);
    for (let c = 0; c < 3; c += 1) result.planes[c][i] = clamp(level + color[c] * fits);
  }
  return result;
}

function luma([red, green, blue], i) {
  return green[i] + 0.2126 * (red[i] - green[i]) + 0.0722 * (blue[i] - green[i]);
}

/** Make an image from a function of channel and index. */
function create({ width, height }, value) {
  const planes = [0, 1, 2].map((c) => {
    const plane = new Float32Array(width * height);
    for (let i = 0; i < plane.length; i += 1) plane[i] = value(c, i);
    return plane;
  });
  return { width, height, planes };
}

function clamp(value) {
  return value < 0 ? 0 : value > 1 ? 1 : value;
}
