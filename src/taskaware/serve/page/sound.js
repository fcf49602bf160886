// The recording: a player, and the picture of what the model hears.

import { upload } from "./api.js";

const part = document.getElementById("sound-part");
const player = document.getElementById("player");
const canvas = document.getElementById("spectrum");
const playhead = document.getElementById("playhead");
const facts = document.getElementById("sound-facts");
let address = "";
let duration = 0;

export function hide() {
  part.hidden = true;
  player.pause();
}

export async function show(blob) {
  URL.revokeObjectURL(address);
  address = URL.createObjectURL(blob);
  player.src = address;
  part.hidden = false;
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  const heard = await upload("/v1/log-mel", blob);
  duration = heard.duration_seconds;
  draw(heard);
  const text = `${duration.toFixed(2)} s, ${heard.num_bins} Mel bands, low ones below`;
  facts.textContent = text;
  canvas.setAttribute("aria-label", `Log-Mel picture of the recording: ${text}`);
}

export function playFrom(seconds) {
  player.currentTime = seconds;
  player.play();
}

/** From black over violet and orange to light yellow: brighter is always louder. */
function colour(value) {
  const x = value / 255;
  return [
    255 * Math.min(1, 1.6 * x),
    255 * Math.max(0, Math.min(1, 1.7 * x - 0.6)),
    255 * Math.max(0, x < 0.45 ? 1.3 * x : 0.95 - 0.85 * x + Math.max(0, 2 * x - 1.5)),
  ];
}

function draw({ num_frames, num_bins, values }) {
  const bytes = Uint8Array.from(atob(values), (sign) => sign.charCodeAt(0));
  canvas.width = num_frames;
  canvas.height = num_bins;
  const context = canvas.getContext("2d");
  const image = context.createImageData(num_frames, num_bins);
  for (let frame = 0; frame < num_frames; frame++) {
    for (let bin = 0; bin < num_bins; bin++) {
      const place = 4 * ((num_bins - 1 - bin) * num_frames + frame);
      image.data.set([...colour(bytes[frame * num_bins + bin]), 255], place);
    }
  }
  context.putImageData(image, 0, 0);
}

player.addEventListener("timeupdate", () => {
  const share = duration ? Math.min(player.currentTime / duration, 1) : 0;
  playhead.style.left = `${100 * share}%`;
});
canvas.addEventListener("click", (event) => {
  playFrom((event.offsetX / canvas.clientWidth) * duration);
});
