// What the model writes between two tasks: their embeddings are mixed.

import { post } from "./api.js";
import * as map from "./map.js";

const part = document.getElementById("between-part");
const from = document.getElementById("from");
const to = document.getElementById("to");
const share = document.getElementById("share");
const shown = document.getElementById("share-shown");
const output = document.getElementById("between-output");
let source = null;
let asked = 0;
let timer = 0;

/** Offer the tasks that take a source, if there are two with embeddings. */
export function offer(given, tasks) {
  source = given;
  const names = tasks.filter((task) => task.has_embedding).map((task) => task.id);
  part.hidden = names.length < 2;
  if (part.hidden) return;
  for (const [select, wanted] of [[from, 0], [to, 1]]) {
    const before = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    select.value = names.includes(before) ? before : names[wanted];
  }
  output.textContent = "";
}

async function run() {
  const number = ++asked;
  const second = Number(share.value);
  const mix = from.value === to.value ? { [to.value]: 1 } : { [from.value]: 1 - second, [to.value]: second };
  try {
    const answer = await post("/v1/run", { sources: [source], mix, map: true });
    if (number !== asked) return; // the slider has moved on
    const [one] = answer.outputs;
    output.textContent = `${one.text || "(nothing)"} (confidence ${Math.round(100 * one.confidence)} %)`;
    map.show(answer.map);
  } catch (error) {
    if (number === asked) output.textContent = error.message;
  }
}

function changed() {
  shown.textContent = Number(share.value).toFixed(2);
  if (!source) return;
  clearTimeout(timer);
  timer = setTimeout(run, 150);
}

for (const one of [from, to, share]) one.addEventListener("input", changed);
