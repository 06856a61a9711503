// Runs style files with onnxruntime-web, away from the page so that it stays quick.

import * as ort from "./ort/ort.js";
import * as px from "./pixels.js";

const MOST_SESSIONS = 6;
const MOST_PIXELS = 26_000_000; // of a whole photo
const MOST_WORKING_PIXELS = 4_500_000; // that the network sees

const here = new URL("./", self.location.href);
ort.env.wasm.wasmPaths = {
  mjs: new URL("ort/ort-wasm.js", here).href,
  wasm: new URL("ort/ort-wasm.wasm", here).href,
};
ort.env.wasm.numThreads = self.crossOriginIsolated
  ? Math.min(4, navigator.hardwareConcurrency || 1)
  : 1;
ort.env.logLevel = "error";

const sessions = new Map();
let last = Promise.resolve();

self.onmessage = ({ data }) => {
  // One after another: the sessions share their memory.
  last = last.then(async () => {
    try {
      const { answer, moved } = await stylize(data);
      self.postMessage({ id: data.id, answer }, moved);
    } catch (error) {
      self.postMessage({ id: data.id, error: error.message || String(error) });
    }
  });
};

async function stylize({ bitmap, styles, scale, strength, keepColors, type, quality }) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  if (width * height > MOST_PIXELS) {
    throw new Error("This photo is too large for the browser; let the server do it.");
  }
  if (Math.min(width, height) < 5) throw new Error("This photo is too small for the browser.");
  const image = context.getImageData(0, 0, width, height);
  const photo = px.fromBytes(image);
  const low = [px.round(width / scale), px.round(height / scale)].map((side) => Math.max(5, side));
  if (low[0] * low[1] > MOST_WORKING_PIXELS) {
    throw new Error("Such fine strokes are too much for the browser; let the server do it.");
  }
  const seen = px.resize(photo, ...low);
  const pictures = [];
  for (const { address } of styles) pictures.push(await run(address, seen));
  let picture = px.mix(pictures, styles.map(({ weight }) => weight));
  if (low[0] > width || low[1] > height) picture = px.resize(picture, width, height);
  else if (low[0] !== width || low[1] !== height) picture = px.enlarge(picture, seen, photo);
  if (keepColors) picture = px.keepColors(photo, picture);
  picture = px.between(photo, picture, strength);
  px.intoBytes(picture, image.data);
  context.putImageData(image, 0, 0);
  if (type) return { answer: await canvas.convertToBlob({ type, quality }), moved: [] };
  const result = canvas.transferToImageBitmap();
  return { answer: result, moved: [result] };
}

async function run(address, { width, height, planes }) {
  const session = await load(address);
  const input = new Float32Array(3 * width * height);
  planes.forEach((plane, c) => input.set(plane, c * width * height));
  const tensor = new ort.Tensor("float32", input, [1, 3, height, width]);
  const { picture } = await session.run({ photo: tensor });
  const values = picture.data;
  return {
    width,
    height,
    planes: [0, 1, 2].map((c) => values.slice(c * width * height, (c + 1) * width * height)),
  };
}

async function load(address) {
  let session = sessions.get(address);
  sessions.delete(address);
  if (session === undefined) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error("The style file cannot be fetched.");
    const file = new Uint8Array(await answer.arrayBuffer());
    session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
  }
  sessions.set(address, session); // the newest last
  if (sessions.size > MOST_SESSIONS) {
    const [oldest] = sessions.keys();
    await sessions.get(oldest).release();
    sessions.delete(oldest);
  }
  return session;
}
