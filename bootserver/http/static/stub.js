// The dialog that builds a stub and downloads it.

import { call } from "./api.js";
import { onSend, open } from "./dialogs.js";
import { megabytes } from "./format.js";

const form = document.getElementById("stub-form");
const built = document.getElementById("built");
const SLOW_PATHS = [
  // what redirection is in the field
  ["150 kB/s", 150e3],
  ["1.5 MB/s", 1.5e6],
];

/** Ask what stub of that image is wanted; "" is the one with a menu. */
export function openStubDialog(image) {
  open(form, { name: image || "a menu of all images" });
  form.dataset.image = image;
  built.replaceChildren();
  showNetwork();
}

onSend(form, async (data) => {
  built.replaceChildren();
  const text = (name) => data.get(name).trim();
  const { value: stub } = await call("POST", "/stubs", {
    body: {
      image: form.dataset.image,
      format: data.get("format"),
      static_ip: text("static_ip"),
      gateway: text("gateway"),
      dns: text("dns"),
      mac: text("mac"),
      vlan: text("vlan") ? Number(text("vlan")) : null,
      servers: text("servers") ? [text("servers")] : [],
    },
  });
  const link = document.createElement("a");
  link.href = stub.download;
  link.download = stub.file_name;
  link.textContent = stub.file_name;
  const sentence = document.createElement("p");
  sentence.append("Built ", link, `, ${megabytes(stub.size_bytes)}.`);
  built.append(sentence, ...Object.entries(stub.read_bytes).map(reads));
  link.click();
  return false; // stay open: what was built can be read
});

function reads([firmware, bytes]) {
  const times = SLOW_PATHS.map(([name, rate]) => `${(bytes / rate).toFixed(1)} s at ${name}`);
  const line = document.createElement("p");
  line.className = "hint";
  const name = firmware.toUpperCase();
  line.textContent = `Redirected, ${name} reads ${megabytes(bytes)} of it: ${times.join(", ")}.`;
  return line;
}

function showNetwork() {
  const value = (name) => form.elements[name].value.trim();
  const parts = [
    value("static_ip") || "DHCP",
    value("mac") ? `on ${value("mac")}` : "on the first card that answers",
    value("vlan") && `VLAN ${value("vlan")}`,
  ];
  document.getElementById("network-summary").textContent = parts.filter(Boolean).join(", ");
}

form.addEventListener("input", showNetwork);
