// The panel that repaints a photo slowly, as a job of the server.

import { ask, send } from "./api.js";
import { $, complain, fill, forgive, say, sayBusy, show } from "./dom.js";
import { findJobs, registerJobs, watch } from "./jobs.js";
import { stem } from "./render.js";

let page = null;
let shared = null;
let busy = false; // whether a job is running

/**
 * Set up the panel. `given` has the functions `photo`, `begin`, which is called when a repainting
 * starts, and `isShown`, which says whether the repainted photo is to be shown.
 */
export function startClassic(context, given) {
  page = given;
  const { artworks } = (shared = context);
  $("classic").hidden = false;
  fill($("artwork"), artworks);
  $("iterations").oninput = () => say($("iterations-value"), $("iterations").value);
  $("optimize").onclick = async () => {
    forgive();
    try {
      const settings = { style: $("artwork").value, iterations: $("iterations").value };
      const answer = await send("api/optimize", settings, { photo: page.photo().file });
      page.begin();
      watchClassic(await answer.json(), page.photo().name);
    } catch (error) {
      complain(error);
      findJobs().catch(() => {});
    }
  };
  const follow = (job) => {
    $("classic").open = true;
    watchClassic(job, "photo");
  };
  registerJobs("optimize", follow, (running) => {
    busy = running !== null;
    updateClassic();
    sayBusy($("optimize-busy"), running);
  });
}

/** Allow repainting if there is a photo and no job is running. */
export function updateClassic() {
  $("optimize").disabled = page === null || busy || page.photo() === null;
}

function watchClassic(job, name) {
  let shown = null;
  let offered = false;
  const onState = async (state, address) => {
    const done = state.status === "done";
    // The last image may be ready some time before the job ends.
    if (address === null || (address === shown && (offered || !done))) return;
    shown = address;
    offered = done;
    try {
      const blob = await (await ask(address)).blob();
      // The user may have chosen another photo or style in the meantime.
      if (page.isShown()) await show($("after"), blob);
      if (!done) return;
      offerResult(blob, `${stem(name)}_${state.name}_repainted.png`);
      if (page.isShown()) say($("status"), "This is the repainted photo. To save it, use the link below the settings for repainting.");
    } catch (error) {
      if (state.status !== "running") complain(error);
    }
  };
  const { title } = shared.artworks.find((each) => each.name === job.name) ?? { title: job.name };
  watch(job, $("optimize-job"), onState, title);
}

function offerResult(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.textContent = "Save the repainted photo";
  $("optimize-job").append(link);
}
