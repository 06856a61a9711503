// Requests to the server, with plain-language error messages.

const TRIES = 30;

export class Trouble extends Error {
  constructor(message, code = "") {
    super(message);
    this.code = code;
  }
}

/** Send a request. Retry if the queue is full. On any other failure, throw a `Trouble`. */
export async function ask(address, options = {}) {
  for (let tries = 1; ; tries += 1) {
    let answer;
    try {
      answer = await fetch(address, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Trouble("The server cannot be reached. Is “fststyle serve” still running?", "unreachable");
    }
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    if (answer.status === 429 && tries < TRIES) {
      await pause(150 + 100 * tries * Math.random(), options.signal);
      continue;
    }
    throw new Trouble(problem.error || `The server responded with status ${answer.status}.`, problem.code);
  }
}

export async function askJson(address, options) {
  return (await ask(address, options)).json();
}

/** Send images, and pass the settings in the query string. */
export function send(address, settings, parts, options = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(settings)) {
    if (value !== undefined && value !== null && value !== "") query.set(key, value);
  }
  const body = new FormData();
  for (const [name, blob] of Object.entries(parts)) body.set(name, blob, name);
  return ask(`${address}?${query}`, { ...options, method: "POST", body });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new DOMException("aborted", "AbortError"));
    if (signal?.aborted) return stop();
    signal?.addEventListener("abort", stop, { once: true });
    setTimeout(resolve, milliseconds);
  });
}
