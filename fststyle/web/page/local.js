// Styling on the visitor's own machine: asks the worker.

let worker = null;
let next = 0;
const waiting = new Map();

/** Stylise an ImageBitmap, which is given away. Without `type` the answer is an ImageBitmap. */
export function stylizeHere(request) {
  if (worker === null) {
    worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => {
      const { resolve, reject } = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error === undefined) resolve(data.answer);
      else reject(new Error(data.error));
    };
    worker.onerror = () => {
      worker = null;
      for (const { reject } of waiting.values()) {
        reject(new Error("This browser cannot run styles by itself; let the server do it."));
      }
      waiting.clear();
    };
  }
  const id = next++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ ...request, id }, [request.bitmap]);
  });
}
