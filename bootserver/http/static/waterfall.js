// Keeps the bars of a running boot growing; bootserver/http/waterfall.py draws them first.

import { duration } from "./format.js";
import { secondsSince } from "./page.js";

const SVG = "http://www.w3.org/2000/svg";
const TICKS_MAX = 6;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const SCALE_MIN = 3;

/** Draw every growing waterfall as it is now. */
export function grow() {
  for (const row of document.querySelectorAll("tr[data-growing]")) {
    const table = row.closest("table");
    const now = secondsSince(table.dataset.zero);
    row.querySelector(".took").textContent = duration(Math.max(0, now - row.dataset.start));
    draw(table, now);
  }
}

function draw(table, now) {
  const scale = Math.max(SCALE_MIN, now);
  const ticks = axis(scale);
  replaceAll(table.querySelector("svg.axis"), "text", ticks, (text, [x, label]) => {
    set(text, { x: percent(x), y: 11 });
    text.textContent = label;
  });
  for (const row of table.tBodies[0].rows) {
    const svg = row.querySelector("svg");
    const start = Number(row.dataset.start);
    const end = "growing" in row.dataset ? now : start + Number(row.dataset.seconds ?? 0);
    replaceAll(svg, "line", ticks, (line, [x]) =>
      set(line, { x1: percent(x), x2: percent(x), y1: 0, y2: "100%" }),
    );
    const x = (100 * start) / scale;
    const bar = svg.querySelector("rect");
    if (bar) set(bar, { x: percent(x), width: percent((100 * Math.max(0, end - start)) / scale) });
    set(svg.querySelector("circle"), { cx: percent(x) });
  }
}

function axis(scale) {
  const last = STEPS.at(-1);
  const step =
    STEPS.find((s) => scale / s <= TICKS_MAX) ?? last * Math.ceil(scale / last / TICKS_MAX);
  const count = Math.floor((scale * 0.96) / step);
  return Array.from({ length: count + 1 }, (_, n) => [(100 * n * step) / scale, label(n * step)]);
}

function label(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  const two = (number) => String(number).padStart(2, "0");
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)} h`;
}

/** As many children of that kind as values, each set from its value, before all others. */
function replaceAll(svg, kind, values, apply) {
  const found = [...svg.querySelectorAll(kind)];
  for (const extra of found.splice(values.length)) extra.remove();
  while (found.length < values.length) {
    const element = document.createElementNS(SVG, kind);
    svg.insertBefore(element, found.at(-1)?.nextSibling ?? svg.firstChild);
    found.push(element);
  }
  for (const [n, element] of found.entries()) apply(element, values[n]);
}

const percent = (value) => `${value.toFixed(3)}%`;
const set = (element, values) => {
  for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
};
