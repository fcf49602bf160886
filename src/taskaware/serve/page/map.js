// The task embeddings in a plane.

const part = document.getElementById("map-part");
const svg = document.getElementById("map");
const table = document.getElementById("map-table");
const NAMES = { task: "task of the model", stored: "from examples", mix: "mixture", example: "of this source and its output" };
const EDGE = 56;
const LINE = 18;

function drawn(kind, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

let shown = [];

export function show(places) {
  shown = places;
  part.hidden = places.length < 2;
  if (part.hidden) return;
  const span = (values) => [Math.min(...values), Math.max(...values)];
  const [left, right] = span(places.map((one) => one.x));
  const [low, high] = span(places.map((one) => one.y));
  const width = Math.max(svg.clientWidth, 280); // as it is shown, so that letters keep their size
  const inner = width - 2 * EDGE;
  const wide = Math.max(right - left, 1e-6);
  const height = Math.max(150, Math.min(320, (inner * (high - low)) / wide + 2 * EDGE));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  // One scale for both axes, so that distances can be compared.
  const scale = Math.min(inner / wide, (height - 2 * EDGE) / Math.max(high - low, 1e-6));
  const x = (value) => width / 2 + (value - (left + right) / 2) * scale;
  const y = (value) => height / 2 - (value - (low + high) / 2) * scale;
  svg.replaceChildren();
  const taken = [];
  for (const place of places) {
    const [at, up] = [x(place.x), y(place.y)];
    const own = place.kind === "example" && places.find((one) => one.name === place.name && one.kind !== "example");
    if (own) svg.append(drawn("line", { x1: at, y1: up, x2: x(own.x), y2: y(own.y), class: "of" }));
    const radius = place.kind === "example" ? 10 : 6;
    svg.append(drawn("circle", { cx: at, cy: up, r: radius, class: place.kind }));
    if (place.kind === "example") continue;
    const text = place.kind === "mix" ? "mixture" : place.name;
    const half = 4.2 * text.length;
    const middle = Math.max(half, Math.min(width - half, at));
    // Above its point, or where there is another name, below it, or further away.
    const line = [-14, 24, -14 - LINE, 24 + LINE, -14 - 2 * LINE, 24 + 2 * LINE]
      .map((step) => up + step)
      .find((one) => !taken.some(([m, l, h]) => Math.abs(m - middle) < h + half && Math.abs(l - one) < LINE));
    if (line === undefined) continue; // the table has it
    taken.push([middle, line, half]);
    svg.append(drawn("text", { x: middle, y: line, "text-anchor": "middle" }, text));
  }
  document.getElementById("map-note").textContent = places.some((one) => one.kind === "example")
    ? "Rings: those that the task network computes from this source and each output, with a line to its task."
    : "";
  const head = ["Task", "What", "First", "Second"];
  const rows = places.map((one) => [one.name, NAMES[one.kind], one.x.toFixed(2), one.y.toFixed(2)]);
  const body = document.createElement("tbody");
  for (const [number, cells] of [head, ...rows].entries()) {
    const row = document.createElement("tr");
    for (const cell of cells) {
      const made = document.createElement(number ? "td" : "th");
      made.textContent = cell;
      row.append(made);
    }
    body.append(row);
  }
  table.querySelector("tbody")?.remove();
  table.append(body);
}

addEventListener("resize", () => show(shown));
