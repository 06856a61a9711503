// The camera: stylised live video, and photos. All images stay on this device.

import { currentMap } from "./brush.js";
import { $, complain, fileOf, fill, forgive, pixelsOf, say } from "./dom.js";
import { open } from "./runner.js";
import { StrengthSlider } from "./strength.js";

let context = null;
let slider = null; // of the strength
let stream = null;
let run = 0; // increases with every start and stop

export function startLive(given, onPhoto) {
  slider = new StrengthSlider("live-strength");
  $("live-style").onchange = followStyle;
  refreshLive(given);
  if (!given.config.local) {
    say(
      $("live-note"),
      "Take a photo with the camera. Stylised live video requires onnxruntime-web, which " +
        "is not installed on the server (see docs/guides/page.md).",
    );
    for (const id of ["live-style", "live-size", "live-strength"]) $(id).disabled = true;
  }
  $("camera").onclick = () => (stream ? stopCamera() : startCamera().catch(complain));
  $("snap").onclick = async () => {
    const video = $("video");
    const style = context.config.local ? $("live-style").value : "";
    try {
      const pixels = pixelsOf(video, video.videoWidth, video.videoHeight);
      onPhoto((await fileOf(pixels, "image/png")).blob, style, slider.strength);
    } catch (error) {
      complain(error);
    }
  };
}

/** List the styles. */
export function refreshLive(given) {
  context = given;
  const before = $("live-style").value;
  fill($("live-style"), context.styles);
  if (context.styles.some(({ name }) => name === before)) $("live-style").value = before;
  followStyle();
}

/** Offer the map that is painted on the photo, if there is one. */
export function offerMap() {
  $("live-map-control").hidden = !currentMap(1, chosenStyles()).map;
}

function followStyle() {
  slider.follow(chosenStyles());
}

function chosenStyles() {
  return context.styles.filter(({ name }) => name === $("live-style").value);
}

/** Return the strength and, if it is wanted, the map of the photo. */
function strengthAndMap() {
  const { strength } = slider;
  const usesMap = $("live-map").checked && !$("live-map-control").hidden;
  return usesMap ? currentMap(strength, chosenStyles()) : { strength };
}

async function startCamera() {
  forgive();
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error(
      "Browsers allow camera access only on localhost or over HTTPS. Open the page there.",
    );
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: "environment" },
    });
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    throw new Error(
      denied
        ? "The browser has blocked the camera. Allow access in the address bar, then try again."
        : "No camera was found. Connect a camera, or choose a photo instead.",
    );
  }
  const video = $("video");
  video.srcObject = stream;
  await video.play();
  $("live-placeholder").hidden = true;
  $("camera").textContent = "Stop the camera";
  $("snap").disabled = false;
  const canStyle = context.config.local && context.styles.length > 0;
  video.hidden = canStyle;
  $("live-canvas").hidden = $("fps").hidden = !canStyle;
  say($("live-status"), canStyle ? "Loading the style …" : "The camera is on.");
  if (canStyle) loop(++run).catch((error) => {
    stopCamera();
    complain(error);
  });
}

export function stopCamera() {
  if (!stream) return;
  run += 1;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  $("video").srcObject = null;
  $("video").hidden = $("live-canvas").hidden = $("fps").hidden = true;
  $("live-placeholder").hidden = false;
  $("camera").textContent = "Start the camera";
  $("snap").disabled = true;
  say($("live-status"), "");
}

async function loop(mine) {
  const video = $("video");
  const canvas = $("live-canvas");
  const times = [];
  while (mine === run) {
    const side = Number($("live-size").value);
    const factor = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
    const bitmap = await createImageBitmap(video, {
      resizeWidth: Math.round((video.videoWidth * factor) / 4) * 4,
      resizeHeight: Math.round((video.videoHeight * factor) / 4) * 4,
      resizeQuality: "medium",
    });
    const frame = pixelsOf(bitmap, bitmap.width, bitmap.height);
    bitmap.close();
    const runner = await open(context.config.styleAddress($("live-style").value));
    const image = await runner.stylize(frame, { scale: 1, ...strengthAndMap() });
    if (mine !== run) return;
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").putImageData(image, 0, 0);
    times.push(performance.now());
    if (times.length > 12) times.shift();
    const rate = (1000 * (times.length - 1)) / (times.at(-1) - times[0]);
    if (times.length > 2) {
      say($("fps"), `${rate.toFixed(1)} images per second`);
      say($("live-status"), "The camera is on.");
    }
    // While the page is hidden, the loop pauses here.
    await new Promise((go) => requestAnimationFrame(go));
  }
}
