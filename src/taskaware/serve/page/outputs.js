// The outputs of all tasks, side by side.

import { playFrom } from "./sound.js";

const cards = document.getElementById("cards");
const legend = document.getElementById("legend");

function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

function percent(value) {
  return `${Math.round(100 * value)} %`;
}

function word({ text, start_seconds, end_seconds, confidence }) {
  const level = confidence > 0.8 ? "high" : confidence > 0.5 ? "middle" : "low";
  const times = `${start_seconds.toFixed(2)} to ${end_seconds.toFixed(2)} s`;
  const made = element("button", {
    type: "button",
    className: `word ${level}`,
    textContent: text,
    title: `${times}, confidence ${percent(confidence)}`,
  });
  made.setAttribute("aria-label", `${text}: ${times}, confidence ${percent(confidence)}; play`);
  made.addEventListener("click", () => playFrom(start_seconds));
  return made;
}

function answer(output, task) {
  const made = element("p", { className: "answer" });
  if (task?.target_language) made.lang = task.target_language.slice(0, 2);
  const words = (output.segments ?? []).flatMap((segment) => segment.words);
  if (words.length) words.forEach((one) => made.append(word(one), " "));
  else made.textContent = output.text || "(nothing)";
  return made;
}

function download(output, form) {
  const made = element("button", {
    type: "button",
    className: "small",
    textContent: form.toUpperCase(),
  });
  made.setAttribute("aria-label", `Download the subtitles of ${output.task} as ${form.toUpperCase()}`);
  made.addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([output.subtitles[form]], { type: "text/plain" }));
    element("a", { href: address, download: `${output.task}.${form}` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  });
  return made;
}

function about(task) {
  if (!task) return "";
  const from = task.source_language || task.source_modality;
  const to = task.target_language && task.target_language !== from ? ` to ${task.target_language}` : "";
  return `${task.kind}, ${task.source_modality}, ${from}${to}`;
}

function card(output, task) {
  const meter = element("meter", { min: 0, max: 1, value: output.confidence, low: 0.5, high: 0.8, optimum: 1 });
  meter.setAttribute("aria-label", `Confidence of ${output.task}`);
  const made = element(
    "article",
    { className: "output" },
    element("h3", { textContent: output.task }),
    element("div", { className: "quiet", textContent: about(task) }),
    answer(output, task),
  );
  if (output.text) {
    made.append(
      element("div", { className: "meter" }, "confidence", meter, percent(output.confidence)),
    );
  }
  for (const warning of output.warnings) {
    made.append(element("p", { className: "quiet", textContent: `Beware: ${warning}` }));
  }
  if (output.subtitles && output.text) {
    made.append(
      element("div", { className: "row" }, "subtitles", download(output, "srt"), download(output, "vtt")),
    );
  }
  return made;
}

export function show(outputs, tasks) {
  legend.hidden = !outputs.some((one) => one.segments?.some((segment) => segment.words.length));
  cards.replaceChildren(...outputs.map((one) => card(one, tasks.get(one.task))));
}
