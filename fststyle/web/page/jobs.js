// A job of the server, as it goes on.

import { askJson, Trouble } from "./api.js";
import { complain, say, seconds } from "./dom.js";

const NAMES = { train: "Training", optimize: "Repainting" };

const followers = {}; // by kind: shows a job
const buttons = []; // told of the job that runs, or null
const states = new Map(); // by id, of the jobs that are shown

/**
 * Take part in the jobs, of which one runs at a time. `follow` shows a job of this kind, one that
 * another tab has begun too; `told` hears which job runs, of any kind, as a sentence, or null.
 */
export function joinJobs(kind, follow, told) {
  followers[kind] = follow;
  buttons.push(told);
}

/** Show what the server has: at the start all of it, later what another tab has begun. */
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
  for (const told of buttons) told(running ?? null);
}

/**
 * Show a job in a box until it ends. `seen` gets every state, and the address of its picture;
 * `title` is that of the style.
 */
export function watch(job, box, seen, title = job.name) {
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
          ? `${name}: getting ready, for ${seconds((performance.now() - begin) / 1000)} …`
          : state.share >= 1
            ? `${name}: the last checks …`
            : `${name}: ${Math.round(100 * state.share)} %, step ${state.step}${left}`,
      done:
        state.share < 1
          ? `${name} was stopped at ${Math.round(100 * state.share)} % and kept.`
          : `${name} is done, after ${seconds(state.seconds)}.`,
      cancelled: `${name} was cancelled.`,
      failed: `${name} failed. ${state.error}`,
    };
    say(text, sentences[state.status]);
    if (running && state.share === null) clock = setTimeout(() => update(state), 1000);
    note(state, name);
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
