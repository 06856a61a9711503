// A job of the server, as it goes on.

import { askJson, Trouble } from "./api.js";
import { complain, say, seconds } from "./dom.js";

const NAMES = { train: "Training", optimize: "Repainting" };

/** Show a job in a box until it ends. `seen` gets every state, and the address of its picture. */
export function watch(job, box, seen) {
  const card = document.getElementById("job-card").content.cloneNode(true);
  const text = card.querySelector(".job-text");
  const bar = card.querySelector("progress");
  const keep = card.querySelector(".job-keep");
  const cancel = card.querySelector(".job-cancel");
  const use = card.querySelector(".job-use");
  const address = `api/jobs/${encodeURIComponent(job.id)}`;
  box.replaceChildren(card);
  box.hidden = false;
  bar.setAttribute("aria-label", `${NAMES[job.kind]} of ${job.name}`);

  const end = (kept) => {
    keep.disabled = cancel.disabled = true;
    askJson(`${address}?keep=${kept}`, { method: "DELETE" }).then(update, complain);
  };
  keep.onclick = () => end(true);
  cancel.onclick = () => end(false);

  function update(state) {
    const running = state.status === "running";
    const name = `${NAMES[state.kind]} of ${state.name}`;
    if (state.share === null) bar.removeAttribute("value");
    else bar.value = state.share;
    bar.hidden = cancel.hidden = !running;
    keep.hidden = !running || state.share === null;
    use.hidden = !(state.status === "done" && state.kind === "train");
    const left = state.seconds_left === null ? "" : `, ${seconds(state.seconds_left)} left`;
    const sentences = {
      running:
        state.share === null
          ? `${name}: getting ready …`
          : state.share >= 1
            ? `${name}: the last checks …`
            : `${name}: ${Math.round(100 * state.share)} %, step ${state.step}${left}`,
      done: `${name} is done, after ${seconds(state.seconds)}.`,
      cancelled: `${name} was cancelled.`,
      failed: `${name} failed. ${state.error}`,
    };
    say(text, sentences[state.status]);
    seen(state, state.picture === null ? null : `${address}/picture?of=${state.picture}`, use);
  }

  update(job);
  if (job.status !== "running") return;
  const events = new EventSource(`${address}/events`);
  events.onmessage = ({ data }) => {
    const state = JSON.parse(data);
    if (state.status !== "running") events.close();
    update(state);
  };
  events.onerror = () => {
    // The browser tries again by itself unless the job is gone.
    if (events.readyState !== EventSource.CLOSED) return;
    say(text, new Trouble("The server does not tell of this job any more.").message);
  };
}
