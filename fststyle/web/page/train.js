// Trains a style from the page. The server runs the job, so it is shown again after a reload.

import { ask, send } from "./api.js";
import { $, complain, forgive, say, sayBusy, show } from "./dom.js";
import { findJobs, registerJobs, watch } from "./jobs.js";

let trained = () => {};

export function startTraining(context, onTrained) {
  trained = onTrained;
  $("minutes").oninput = () => say($("minutes-value"), $("minutes").value);
  $("picture").onchange = () => {
    const [file] = $("picture").files;
    if (!file) return;
    const preview = $("picture-preview");
    // The server may be able to read images that this browser cannot display.
    show(preview, file).then(() => (preview.hidden = preview.naturalWidth === 0));
    if (!$("train-name").value) $("train-name").value = nameFrom(file.name);
  };
  $("train-form").onsubmit = async (event) => {
    event.preventDefault();
    forgive();
    $("train-start").disabled = true;
    try {
      const settings = { name: $("train-name").value, minutes: $("minutes").value };
      const answer = await send("api/train", settings, { picture: $("picture").files[0] });
      follow(await answer.json());
    } catch (error) {
      $("train-start").disabled = false;
      complain(error);
      findJobs().catch(() => {});
    }
  };
  registerJobs("train", follow, (running) => {
    $("train-start").disabled = running !== null;
    sayBusy($("train-busy"), running);
  });
}

function follow(job) {
  let shown = null;
  $("sheet").hidden = true;
  $("sheet-placeholder").hidden = false;
  let announced = false;
  watch(job, $("train-job"), async (state, address, use) => {
    use.onclick = () => {
      location.hash = "#photo";
      trained(state.name);
    };
    if (state.status !== "running") {
      if (state.status === "done" && !announced) trained("");
      announced = true;
    }
    if (address === null || address === shown) return;
    shown = address;
    try {
      const sheet = await (await ask(address)).blob();
      $("sheet-placeholder").hidden = true;
      await show($("sheet"), sheet);
    } catch (error) {
      if (state.status !== "running") complain(error);
    }
  });
}

function nameFrom(file) {
  return file
    .replace(/\.[^.]*$/, "")
    .toLowerCase()
    .normalize("NFKD")
    .replace(/[^a-z0-9_-]+/g, "_")
    .replace(/^[^a-z0-9]+|_+$/g, "")
    .slice(0, 64);
}
