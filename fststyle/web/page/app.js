// Sets up the parts of the page and the data that they share.

import { askJson } from "./api.js";
import { $, complain, forgive } from "./dom.js";
import { findJobs } from "./jobs.js";
import { offerMap, refreshLive, startLive, stopCamera } from "./live.js";
import { refreshStyles, startPhoto, takeSnapshot } from "./photo.js";
import { startTraining } from "./train.js";

const PARTS = ["photo", "live", "train"];

function showPart() {
  const wanted = location.hash.slice(1);
  const isThere = PARTS.includes(wanted) && !(wanted === "train" && $("train-tab").hidden);
  const part = isThere ? wanted : "photo";
  for (const name of PARTS) {
    $(name).hidden = name !== part;
    const link = document.querySelector(`.tabs a[href="#${name}"]`);
    if (name === part) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (part === "live" && document.body.dataset.ready) offerMap();
  if (part !== "live") stopCamera();
  forgive();
}

async function start() {
  $("no-scripts").remove();
  $("alert-close").onclick = forgive;
  // Only one section is visible at a time, so there is no need to scroll to it.
  window.addEventListener("hashchange", () => {
    if (location.hash === "#main") return;
    showPart();
    window.scrollTo(0, 0);
  });
  showPart();
  const config = await askJson("config.json", { cache: "no-store" });
  const list = () => askJson(config.server ? "api/styles" : "styles.json", { cache: "no-store" });
  const { styles, artworks = [] } = await list();
  $("version").textContent = config.version;
  $("api-link").hidden = !config.server;
  config.styleAddress = (name) => new URL(`styles/${name}.onnx`, location.href).href;

  const context = { config, styles, artworks };
  startPhoto(context);
  startLive(context, (blob, style, strength) => {
    location.hash = "#photo";
    takeSnapshot(blob, style, strength);
  });
  if (config.jobs) {
    $("train-tab").hidden = false;
    showPart();
    startTraining(context, async (name) => {
      context.styles = (await list()).styles;
      refreshStyles(context, name);
      refreshLive(context);
    });
    await findJobs(true).catch(complain);
    // Another tab may have started a job.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) findJobs().catch(() => {});
    });
  }
  document.body.dataset.ready = "yes";
}

start().catch(complain);
