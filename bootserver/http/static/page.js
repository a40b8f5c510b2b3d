// What every page does: colours, times, the link to the server, and fetching itself anew.

import { Refused } from "./api.js";
import { clock, localTimes } from "./format.js";
import { merge } from "./merge.js";

const RETRY_MS = 3000;
const REFRESH_MS = 1000; // at most so often, however much happens

const listeners = { boot: [], images: [], job: [], amt_boot: [], refreshed: [] };
let aheadMs = 0; // of this computer's clock, the server's is

/** Call `listener` with the data of each event of that name; "refreshed" has none. */
export function on(name, listener) {
  listeners[name].push(listener);
}

/** Seconds since an ISO time, by the server's clock. */
export function secondsSince(moment) {
  return (Date.now() + aheadMs - Date.parse(moment)) / 1000;
}

/** Tell people who hear the page; several at once are one message. */
export function announce(sentence) {
  spoken.push(sentence);
  if (spoken.length > 1) return;
  setTimeout(() => {
    document.getElementById("announcer").textContent = spoken.splice(0).join(". ");
  }, 500);
}
const spoken = [];

/** `action` as a listener whose refusals are told on the page. */
export function guarded(action) {
  return async (event) => {
    const place = document.getElementById("failure");
    place.textContent = "";
    try {
      await action(event);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      place.textContent = error.sentence;
    }
  };
}

let waiting = null;
let refreshedAt = 0;

/** Fetch this page again, soon, and merge its parts in. */
export function refresh() {
  waiting ??= new Promise((resolve) => {
    const inMs = Math.max(0, refreshedAt + REFRESH_MS - performance.now());
    setTimeout(async () => {
      waiting = null;
      refreshedAt = performance.now();
      await fetchParts();
      resolve();
    }, inMs);
  });
  return waiting;
}

async function fetchParts() {
  let text;
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) return;
    text = await response.text();
  } catch {
    return; // the link to the server is lost: its own lamp says so
  }
  const fresh = new DOMParser().parseFromString(text, "text/html");
  setClock(fresh.body);
  prepare(fresh);
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (other) merge(part, document.importNode(other, true));
  }
  tick();
  for (const listener of listeners.refreshed) listener();
}

/** What the server cannot know: the zone, and that scripts run. */
function prepare(root) {
  localTimes(root);
  for (const element of root.querySelectorAll("[data-scripted]")) element.hidden = false;
}

function setClock(body) {
  aheadMs = Date.parse(body.dataset.now) - Date.now();
}

function tick() {
  for (const element of document.querySelectorAll("[data-since]")) {
    const seconds = secondsSince(element.dataset.since);
    (element.querySelector("[data-form=clock]") ?? element).textContent = clock(seconds);
  }
}

function showLink(state, label) {
  const place = document.getElementById("link-state");
  if (place.dataset.state === state) return;
  place.dataset.state = state;
  document.getElementById("link-label").textContent = label;
}

let wasConnected = false;

function connect() {
  const source = new EventSource("/api/v1/events");
  source.onopen = () => {
    showLink("on", "Live");
    if (wasConnected) refresh(); // what happened meanwhile is not sent again
    wasConnected = true;
  };
  source.onerror = () => {
    showLink("lost", "Connection lost, trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  };
  for (const name of ["boot", "images", "job", "amt_boot"]) {
    source.addEventListener(name, (event) => {
      const data = JSON.parse(event.data);
      for (const listener of listeners[name]) listener(data);
    });
  }
}

const THEMES = { "": "Colours: automatic", light: "Colours: light", dark: "Colours: dark" };

function setUpTheme() {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const label = document.getElementById("theme-label");
  const show = () => (label.textContent = THEMES[root.dataset.theme ?? ""]);
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(root.dataset.theme ?? "") + 1) % names.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // Storage is switched off: the choice holds for this page.
    }
    show();
  });
  show();
  button.hidden = false;
}

prepare(document);
setClock(document.body);
setUpTheme();
document.getElementById("zone").textContent =
  Intl.DateTimeFormat().resolvedOptions().timeZone || "of this computer";
tick();
setInterval(tick, 1000);
connect();
