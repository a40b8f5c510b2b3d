// The page of machines with AMT: boots move with each event, the rest is fetched when that changes.

import { onStarted, openBoot } from "./amt_boot.js";
import { loginOf, openLogin, withLogin } from "./amt_login.js";
import { call } from "./api.js";
import { onSend, open } from "./dialogs.js";
import { clock, megabytes, progress, speed } from "./format.js";
import { announce, guarded, on, refresh } from "./page.js";
import { grow } from "./waterfall.js";

const NO_LOGIN = new Set(["no_password", "wrong_password"]);
const grouped = new Intl.NumberFormat("en");
const path = (host, what = "") => `/amt/hosts/${encodeURIComponent(host)}${what}`;
const form = (name) => document.getElementById(`${name}-form`);

// ---- The boots ----

// Those that were started here: if one lacks a password, this is where it is asked for.
const ours = new Set(location.hash.startsWith("#boot-") ? [location.hash.slice(6)] : []);
const latest = new Map();

on("amt_boot", (boot) => {
  latest.set(boot.id, boot);
  const card = document.getElementById(`amt-boot-${boot.id}`);
  if (card) show(card, boot);
  if (card?.dataset.doing === boot.doing && card.dataset.ledger === boot.boot) return;
  refresh();
});

on("boot", (boot) => {
  for (const card of document.querySelectorAll(`[data-ledger="${boot.id}"]`))
    showFetched(card, boot);
  if (phases.get(boot.id) !== boot.phase) refresh();
  phases.set(boot.id, boot.phase);
});
const phases = new Map();

on("refreshed", () => {
  for (const [id, boot] of latest) {
    const card = document.getElementById(`amt-boot-${id}`);
    if (card?.dataset.doing !== boot.doing) continue;
    show(card, boot);
    told(boot, card.dataset);
  }
});

function show(card, boot) {
  put(card, "sentence", boot.sentence);
  put(card, "reads", grouped.format(boot.reads));
  put(card, "redirected", megabytes(boot.redirected_bytes));
  bar(card, "redirected-bar", boot.redirected_bytes, Number(card.dataset.slow));
}

function showFetched(card, boot) {
  const [sent, size] = progress(boot);
  put(card, "sent", megabytes(sent));
  put(card, "size", megabytes(size));
  put(card, "speed", speed(boot.bytes_per_s));
  put(card, "left", clock(boot.seconds_left));
  bar(card, "progress", sent, size);
}

function put(card, name, text) {
  const place = card.querySelector(`[data-show=${name}]`);
  if (place && place.textContent !== text) place.textContent = text;
}

function bar(card, name, part, whole) {
  const place = card.querySelector(`[data-show=${name}]`);
  if (place) place.value = whole ? Math.min(100, (100 * part) / whole) : 0;
}

/** Say what has come of a boot, once for each thing that it does. */
function told(boot, { title, image, asked }) {
  if (spoken.get(boot.id) === boot.doing) return;
  spoken.set(boot.id, boot.doing);
  announce(`${title}: ${boot.sentence}`);
  if (!ours.has(boot.id)) return;
  if (boot.doing === "consent") document.querySelector(`[data-consent="${boot.id}"] input`).focus();
  if (boot.ended_at) ours.delete(boot.id);
  if (NO_LOGIN.has(boot.failure)) {
    openBoot({ host: boot.host, title, image, method: asked }, boot.error);
  }
}
const spoken = new Map();

onStarted((boot) => {
  ours.add(boot.id);
  spoken.delete(boot.id); // its first events may have come before the answer
  refresh(); // when the dialog is closed: it may be needed again
});

document.addEventListener(
  "submit",
  guarded(async (event) => {
    const id = event.target.dataset.consent;
    if (id === undefined) return;
    event.preventDefault();
    const code = event.target.elements.code;
    await call("POST", `/amt/boots/${id}/consent`, { body: { code: code.value } });
    code.value = "";
  }),
);

// ---- The machines ----

document.addEventListener(
  "click",
  guarded(async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { bootHost, stop, ask, probe, power, kvm, forget, title, image, method } = button.dataset;
    if (bootHost !== undefined) openBoot({ host: bootHost, title, image, method });
    else if (ask !== undefined) openAsk("", "another machine");
    else if (power !== undefined) openPower(power, title, button.dataset.now);
    else if (kvm !== undefined) openKvm(kvm, title);
    else if (forget !== undefined) openForget(forget, title);
    else if (probe !== undefined) await busy(button, () => probeAgain(probe, title));
    else if (stop !== undefined) await busy(button, () => call("DELETE", `/amt/boots/${stop}`));
  }),
);

/** No second click while the first is under way. */
async function busy(button, action) {
  button.disabled = true;
  try {
    await action();
  } finally {
    button.disabled = false;
    await refresh();
  }
}

async function probeAgain(host, title) {
  try {
    await call("POST", path(host, "/probe"), { body: {} });
  } catch (error) {
    if (error.status !== 422) throw error;
    openAsk(host, title, error.sentence);
    return;
  }
  announce(`${title} has answered`);
}

function openAsk(host, name, failure = "") {
  const asking = form("ask");
  asking.querySelector("[data-login]").open = !host;
  open(asking, { name, values: { host } });
  if (!failure) return;
  openLogin(asking);
  asking.querySelector(".failure").textContent = failure;
}

onSend(form("ask"), async (data) => {
  const host = data.get("host").trim();
  await withLogin(form("ask"), () => call("POST", path(host, "/probe"), { body: loginOf(data) }));
  announce(`AMT on ${host} has answered`);
  await refresh();
});

function openPower(host, title, now) {
  const powering = form("power");
  powering.querySelector("[data-login]").open = false;
  open(powering, { name: title });
  Object.assign(powering.dataset, { host, now: now ?? "" });
  document.getElementById("power-now").textContent = now
    ? `When AMT was last asked, it was ${now}.`
    : "";
  sure(false);
}

/** Ask once more, or no longer, before a running system is cut off. */
function sure(asked) {
  const powering = form("power");
  const button = powering.querySelector(".buttons button:not([data-close])");
  const chosen = powering.querySelector("[name=action]:checked");
  document.getElementById("power-sure").hidden = !asked;
  button.className = asked ? "danger" : "primary";
  button.textContent = asked ? chosen.dataset.label : "Go on";
  powering.dataset.sure = asked ? chosen.value : "";
}

form("power").addEventListener("change", (event) => {
  if (event.target.name === "action") sure(false);
});

onSend(form("power"), async (data) => {
  const powering = form("power");
  const { host, now } = powering.dataset;
  const chosen = powering.querySelector("[name=action]:checked");
  if ("cuts" in chosen.dataset && now !== "off" && powering.dataset.sure !== chosen.value) {
    sure(true);
    return false;
  }
  const [what, order] =
    "target" in chosen.dataset
      ? ["/boot", { to: chosen.value }]
      : ["/power", { action: chosen.value }];
  const { value } = await withLogin(powering, () =>
    call("POST", path(host, what), { body: { ...order, ...loginOf(data) } }),
  );
  announce(`It was ${value.before}; asked for: ${value.asked}`);
  await refresh();
});

function openKvm(host, title) {
  const screen = form("kvm");
  screen.querySelector("[data-login]").open = false;
  open(screen, { name: title });
  screen.dataset.host = host;
  screen.querySelector("[data-host]").textContent = host;
  document.getElementById("kvm-built").replaceChildren();
}

onSend(form("kvm"), async (data) => {
  const screen = form("kvm");
  const { value } = await withLogin(screen, () =>
    call("POST", path(screen.dataset.host, "/kvm"), {
      body: { rfb_password: data.get("rfb_password"), ...loginOf(data) },
    }),
  );
  const viewer = value.vnc ? "any VNC viewer" : "a viewer that knows AMT, such as MeshCommander";
  document.getElementById("kvm-built").textContent =
    `The screen is at ${value.host}:${value.port}, for ${viewer}.`;
  return false; // stay open: the address can be read
});

function openForget(host, title) {
  open(form("forget"), { name: title });
  form("forget").dataset.host = host;
}

onSend(form("forget"), async () => {
  await call("DELETE", path(form("forget").dataset.host));
  announce("Forgotten");
  await refresh();
});

grow();
setInterval(grow, 1000);
// What has ended leaves the page after a while.
setInterval(() => document.querySelector("[data-amt-boot]") && refresh(), 30_000);
