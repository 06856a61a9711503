// Requests to the server, and what goes wrong with them in plain words.

const TRIES = 30;

export class Trouble extends Error {
  constructor(sentence, code = "") {
    super(sentence);
    this.code = code;
  }
}

/** Ask the server; a full queue is waited for. Other failures are a `Trouble` with a sentence. */
export async function ask(address, options = {}) {
  for (let tries = 1; ; tries += 1) {
    let answer;
    try {
      answer = await fetch(address, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Trouble("The server cannot be reached. Is “fststyle serve” still running?", "away");
    }
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => ({}));
    if (answer.status === 429 && tries < TRIES) {
      await pause(150 + 100 * tries * Math.random(), options.signal);
      continue;
    }
    throw new Trouble(told.error || `The server answered with ${answer.status}.`, told.code);
  }
}

export async function askJson(address, options) {
  return (await ask(address, options)).json();
}

/** Send a picture, with settings in the address. */
export function send(address, settings, parts, options = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(settings)) {
    if (value !== undefined && value !== null && value !== "") query.set(key, value);
  }
  const body = new FormData();
  for (const [name, blob] of Object.entries(parts)) body.set(name, asPicture(blob), name);
  return ask(`${address}?${query}`, { ...options, method: "POST", body });
}

// A browser may know no type for what it cannot show, such as HEIC.
function asPicture(blob) {
  if (blob.type.startsWith("image/")) return blob;
  return new Blob([blob], { type: "application/octet-stream" });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new DOMException("given up", "AbortError"));
    if (signal?.aborted) return stop();
    signal?.addEventListener("abort", stop, { once: true });
    setTimeout(resolve, milliseconds);
  });
}
