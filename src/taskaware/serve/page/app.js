// The page: a source comes in, every task's output is shown.

import * as api from "./api.js";
import * as between from "./between.js";
import * as map from "./map.js";
import * as outputs from "./outputs.js";
import { Recorder, converted } from "./recorder.js";
import * as sound from "./sound.js";

const $ = (id) => document.getElementById(id);
const MODALITY = { text: "text", audio: "speech" };
let tasks = [];
let recording = null;
let recorder = null;
let lastUsed = "";
let ready = Promise.resolve();

function say(text) {
  $("status").textContent = text;
}

function problem(error) {
  $("problem").textContent = error?.message ?? "";
  $("problem").hidden = !error;
  if (error instanceof api.NeedsKey) {
    $("key-part").hidden = false;
    $("key-part").open = true;
    $("key").focus();
  }
}

/** List the tasks. Ticked are the model's own, that which was made here, and what was ticked before. */
async function loadTasks(made = null) {
  tasks = (await api.get("/v1/models")).data;
  const speech = tasks.some((task) => task.source_modality === "speech");
  const text = tasks.some((task) => task.source_modality === "text");
  $("num-tasks").textContent = tasks.length;
  $("about").textContent = `${tasks[0]?.owned_by ?? ""}: ${tasks.map((task) => task.id).join(", ")}`;
  $("speech-part").hidden = $("times-part").hidden = !speech;
  $("text-part").hidden = !text;
  const before = new Map([...$("tasks").querySelectorAll("input")].map((one) => [one.value, one.checked]));
  $("tasks").replaceChildren(...tasks.map((task) => {
    const label = document.createElement("label");
    label.className = "check";
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: task.id });
    box.checked = before.get(task.id) ?? (!task.is_stored || task.id === made);
    label.append(box, ` ${task.id}`);
    return label;
  }));
  const embeddings = await api.get("/v1/task-embeddings");
  map.show(embeddings.data);
  $("make-part").hidden = !(embeddings.can_be_made && text);
}

function use(kind) {
  lastUsed = kind;
  const names = { audio: "the recording", text: "the text" };
  $("chosen").textContent = kind ? `on ${names[kind]}` : "";
}

async function takeRecording(blob) {
  problem(null);
  recording = blob;
  use("audio");
  ready = sound.show(blob).catch(async (error) => {
    if (error instanceof api.NeedsKey) throw error;
    const readable = await converted(blob).catch(() => null);
    if (!readable) throw error;
    recording = readable;
    await sound.show(readable);
  });
  try {
    await ready;
    say("The recording is ready.");
  } catch (error) {
    recording = null;
    use("");
    sound.hide();
    problem(error);
  }
}

async function currentSource() {
  if (lastUsed === "audio" && recording) {
    await ready;
    return { audio: await api.base64(recording) };
  }
  if ($("text").value.trim()) return { text: $("text").value };
  throw new Error("Record, choose or type something first.");
}

async function run() {
  problem(null);
  $("go").disabled = true;
  say("Working…");
  try {
    const source = await currentSource();
    const modality = MODALITY[Object.keys(source)[0]];
    const fitting = tasks.filter((task) => task.source_modality === modality);
    const checked = new Set([...$("tasks").querySelectorAll("input:checked")].map((one) => one.value));
    const chosen = fitting.filter((task) => checked.has(task.id)).map((task) => task.id);
    if (!chosen.length) {
      throw new Error(`No task that takes ${modality} is ticked: ${fitting.map((task) => task.id).join(", ")}`);
    }
    const isSound = modality === "speech";
    const answer = await api.post("/v1/run", {
      sources: [source],
      tasks: chosen,
      times: isSound && $("times").checked,
      map: true,
    });
    outputs.show(answer.outputs, new Map(tasks.map((task) => [task.id, task])));
    map.show(answer.map);
    between.offer(source, fitting);
    say(`${answer.outputs.length} outputs in ${answer.seconds.toFixed(2)} s.`);
    $("outputs").focus({ preventScroll: true });
  } catch (error) {
    say("");
    problem(error);
  } finally {
    $("go").disabled = false;
  }
}

async function toggleRecording() {
  problem(null);
  try {
    if (recorder) {
      const done = recorder;
      recorder = null;
      $("record").setAttribute("aria-pressed", "false");
      $("record-label").textContent = "Record";
      await takeRecording(await done.stop());
      return;
    }
    const begun = new Recorder();
    await begun.start();
    recorder = begun;
    $("record").setAttribute("aria-pressed", "true");
    $("record-label").textContent = "Stop";
    say("Recording…");
  } catch (error) {
    problem(error);
  }
}

async function makeTask(event) {
  event.preventDefault();
  const status = $("make-status");
  try {
    const examples = $("pairs").value.split("\n").filter((line) => line.trim()).map((line, i) => {
      const [source, target, ...more] = line.split("=>").map((one) => one.trim());
      if (!source || !target || more.length) throw new Error(`Line ${i + 1} must be: source => target`);
      return { source: { text: source }, target };
    });
    if (!examples.length) throw new Error("At least one pair is needed.");
    const made = await api.post("/v1/task-embeddings", { name: $("new-name").value, examples });
    await loadTasks(made.id);
    status.textContent = `There is now a task ${made.id}.`;
  } catch (error) {
    status.textContent = error.message;
  }
}

$("source-form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("make-form").addEventListener("submit", makeTask);
$("record").addEventListener("click", toggleRecording);
$("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) takeRecording(file);
  event.target.value = "";
});
$("text").addEventListener("input", () => use($("text").value.trim() ? "text" : recording ? "audio" : ""));
$("key").value = api.key();
$("key-part").hidden = !api.key();
$("key").addEventListener("change", () => {
  api.setKey($("key").value.trim());
  problem(null);
  loadTasks().catch(problem);
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  if (file) takeRecording(file);
});

loadTasks().catch(problem);
