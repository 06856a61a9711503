// The server's jobs and their progress.

import { askJson } from "./api.js";
import { complain, say, seconds } from "./dom.js";

const NAMES = { train: "Training", optimize: "Repainting" };

const followers = {}; // functions that show a job, by job kind
const listeners = []; // functions that are called with the name of the running job, or null
const states = new Map(); // job id → name of the job while it is running, then null

/**
 * Register for jobs of one kind. `follow` is called to show a job, which may come from another tab.
 * `onChange` is called with the name of the running job (of any kind), or with null.
 */
export function registerJobs(kind, follow, onChange) {
  followers[kind] = follow;
  listeners.push(onChange);
}

/** Show the server's newest jobs: at first also finished ones, later only running ones. */
export async function findJobs(first = false) {
  const { jobs } = await askJson("api/jobs");
  for (const [kind, follow] of Object.entries(followers)) {
    const newest = jobs.find((job) => job.kind === kind);
    if (!newest || states.has(newest.id)) continue;
    if (newest.status === "running" || (first && newest.status === "done")) follow(newest);
  }
}

function note(state, name) {
  states.set(state.id, state.status === "running" ? name : null);
  const running = [...states.values()].find((each) => each !== null);
  for (const onChange of listeners) onChange(running ?? null);
}

/**
 * Show a job in a box until it ends. `onState` is called with each new state and the URL of the
 * newest image. `title` is the title of the style.
 */
export function watch(job, box, onState, title = job.name) {
  const card = document.getElementById("job-card").content.cloneNode(true);
  const text = card.querySelector(".job-text");
  const bar = card.querySelector("progress");
  const keep = card.querySelector(".job-keep");
  const cancel = card.querySelector(".job-cancel");
  const use = card.querySelector(".job-use");
  const address = `api/jobs/${encodeURIComponent(job.id)}`;
  box.replaceChildren(card);
  box.hidden = false;
  const name = `${NAMES[job.kind]} of ${title}`;
  bar.setAttribute("aria-label", name);
  const begin = performance.now() - 1000 * job.seconds;
  let clock = 0;

  const end = (kept) => {
    keep.disabled = cancel.disabled = true;
    askJson(`${address}?keep=${kept}`, { method: "DELETE" }).then(update, complain);
  };
  keep.onclick = () => end(true);
  cancel.onclick = () => end(false);

  function update(state) {
    const running = state.status === "running";
    clearTimeout(clock);
    if (state.share === null) bar.removeAttribute("value");
    else bar.value = state.share;
    bar.hidden = cancel.hidden = !running;
    keep.hidden = !running || state.share === null;
    use.hidden = !(state.status === "done" && state.kind === "train");
    const left = state.seconds_left === null ? "" : `, ${seconds(state.seconds_left)} left`;
    const sentences = {
      running:
        state.share === null
          ? `${name}: preparing for ${seconds((performance.now() - begin) / 1000)} …`
          : state.share >= 1
            ? `${name}: final checks …`
            : `${name}: ${Math.round(100 * state.share)} %, step ${state.step}${left}`,
      done:
        state.share < 1
          ? `${name} was stopped at ${Math.round(100 * state.share)} %; the result was kept.`
          : `${name} finished after ${seconds(state.seconds)}.`,
      cancelled: `${name} was cancelled.`,
      failed: `${name} failed. ${state.error}`,
    };
    say(text, sentences[state.status]);
    if (running && state.share === null) clock = setTimeout(() => update(state), 1000);
    note(state, name);
    onState(state, state.picture === null ? null : `${address}/picture?of=${state.picture}`, use);
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
    // The browser reconnects automatically, unless the job no longer exists.
    if (events.readyState !== EventSource.CLOSED) return;
    say(text, "This job no longer exists on the server.");
  };
}
