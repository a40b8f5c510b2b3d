// The page of what is in a Windows PE: a new image of it, looked at beforehand.

import { call, Refused } from "./api.js";
import { fail, onSend, open } from "./dialogs.js";
import { megabytes } from "./format.js";
import "./page.js";

const form = document.getElementById("optimize-form");
const preview = document.getElementById("preview");
const { image } = form.dataset;
const path = `/images/${encodeURIComponent(image)}/optimize`;

document.getElementById("optimize").addEventListener("click", () => {
  open(form, { name: image });
  preview.replaceChildren();
});

document.getElementById("look").addEventListener("click", async (event) => {
  const button = event.target;
  fail(form, "");
  preview.replaceChildren();
  button.disabled = true;
  try {
    const { value: report } = await call("POST", `${path}/preview`, { body: order() });
    preview.append(...sentences(report).map(paragraph));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    fail(form, error.sentence);
  } finally {
    button.disabled = false;
  }
});

onSend(form, async () => {
  await call("POST", path, { body: order() });
  location.assign("/images"); // its progress is there
});

function order() {
  const data = new FormData(form);
  const lines = (name) =>
    data
      .get(name)
      .split("\n")
      .filter((line) => line.trim());
  return {
    name: data.get("name").trim(),
    nics: data
      .get("nics")
      .split(/[\s,]+/)
      .filter(Boolean),
    machine: data.get("machine"),
    vpro: data.has("vpro"),
    drop_foreign_nics: data.has("drop_foreign_nics"),
    drop_wifi: data.has("drop_wifi"),
    drop_unused_images: data.has("drop_unused_images"),
    drop_paths: lines("drop_paths").map((line) => line.trim()),
    add: lines("add").map(addition),
    run: lines("run"),
    call_home: data.has("call_home"),
  };
}

/** The two parts of `vnc:X:\tools\vnc`. */
function addition(line) {
  const [source, ...rest] = line.trim().split(":");
  return { source, path: rest.join(":") };
}

function sentences(report) {
  if (!report.result) return [`${report.image} has all of that already.`];
  const sum = (files) => megabytes(files.reduce((bytes, file) => bytes + file.size_bytes, 0));
  const listed = [
    ["Drivers put in", report.drivers_added],
    ["Drivers left out", report.drivers_removed],
    ["Images left out", report.images_removed],
  ];
  const counted = [
    ["put in", report.added],
    ["left out", report.removed],
  ];
  const saved = report.saved_bytes;
  return [
    ...listed.filter(([, names]) => names.length).map(([what, n]) => `${what}: ${n.join(", ")}`),
    ...counted
      .filter(([, files]) => files.length)
      .map(([what, files]) => `Files ${what}: ${files.length}, ${sum(files)}`),
    `${report.result} will have about ${megabytes(report.size_bytes)}, ` +
      `${megabytes(Math.abs(saved))} ${saved > 0 ? "less" : "more"} than ${report.image}.`,
    ...report.notes.map((note) => `Note: ${note}.`),
  ];
}

function paragraph(text) {
  const line = document.createElement("p");
  line.textContent = text;
  return line;
}
