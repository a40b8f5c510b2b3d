// A machine's serial line: its screen comes over a WebSocket, keys go. docs/api.md has the messages.

import { loginOf, openLogin } from "./amt_login.js";
import "./page.js";

const ESCAPE_TWICE_MS = 600;
const SPOKEN_AFTER_MS = 700;
const SPOKEN_LINES = 12; // at once; more is not listened to
const SCROLLED_MAX = 1000;
const WORDS = {
  opening: "Connecting",
  consent: "Consent needed",
  open: "Connected",
  ended: "Line closed",
};
const NO_LOGIN = new Set(["no_password", "wrong_password"]);
const NAMED = new Set([
  ...["Enter", "Backspace", "Tab", "Escape", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"],
  ...["Home", "End", "PageUp", "PageDown", "Insert", "Delete"],
  ...Array.from({ length: 12 }, (_, n) => `F${n + 1}`),
]);

const at = (id) => document.getElementById(id);
const place = at("console");
const terminal = at("terminal");
const screen = at("screen");
const scrolled = at("scrolled");
const cursor = at("cursor");
const keys = at("keys");
const loginForm = at("console-login");
const consentForm = at("console-consent");

// ---- The line ----

let socket = null;
let state = "";

function connect(login = {}) {
  const url = new URL(
    `/api/v1/amt/hosts/${encodeURIComponent(place.dataset.host)}/console`,
    location.href,
  );
  url.protocol = url.protocol.replace("http", "ws");
  const opened = new WebSocket(url);
  socket = opened;
  tell({ state: "opening", sentence: "connecting", hint: "", failure: "" });
  scrolled.replaceChildren();
  opened.onopen = () => opened.send(JSON.stringify(login));
  opened.onmessage = (event) => opened === socket && show(JSON.parse(event.data));
  opened.onclose = () => {
    if (opened !== socket || state === "ended") return;
    tell({ state: "ended", sentence: "the server does not answer", hint: "", failure: "" });
  };
}

function tell(status) {
  state = status.state;
  at("line-state").textContent = WORDS[state];
  at("line-state").dataset.state = state;
  at("connect").hidden = state !== "ended";
  at("disconnect").hidden = state === "ended";
  at("ended").hidden = state !== "ended" || !status.sentence;
  at("ended-why").textContent = status.sentence;
  at("ended-hint").textContent = status.hint;
  at("consent-sentence").textContent = status.sentence;
  consentForm.hidden = state !== "consent";
  if (!consentForm.hidden) consentForm.elements.code.focus();
  loginForm.hidden = !NO_LOGIN.has(status.failure);
  if (!loginForm.hidden) openLogin(loginForm);
}

at("connect").addEventListener("click", () => connect());
at("disconnect").addEventListener("click", () => {
  tell({ state: "ended", sentence: "", hint: "", failure: "" });
  socket.close();
  at("connect").focus();
});
loginForm.addEventListener("submit", (event) => {
  event.preventDefault();
  connect(loginOf(new FormData(loginForm)));
  loginForm.reset();
  terminal.focus();
});

consentForm.addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(JSON.stringify({ code: consentForm.elements.code.value }));
  consentForm.reset();
});

// ---- The screen ----

function show(news) {
  if (news.status) tell(news.status);
  const isAtEnd = terminal.scrollTop + terminal.clientHeight >= terminal.scrollHeight - 4;
  while (screen.querySelectorAll(".row").length < news.rows) screen.append(row([]));
  const rows = screen.querySelectorAll(".row");
  hearScrolled(news.scrolled);
  scrolled.append(...news.scrolled.map(row));
  while (scrolled.childElementCount > SCROLLED_MAX) scrolled.firstChild.remove();
  for (const [y, runs] of Object.entries(news.lines)) {
    rows[y].replaceChildren(...runs.map(span));
    toSpeak.add(Number(y));
  }
  cursor.hidden = !news.cursor;
  if (news.cursor) {
    cursor.style.setProperty("--x", news.cursor[0]);
    cursor.style.setProperty("--y", news.cursor[1]);
  }
  if (isAtEnd) terminal.scrollTop = terminal.scrollHeight;
  speakSoon();
}

function row(runs) {
  const line = document.createElement("div");
  line.className = "row";
  line.append(...runs.map(span));
  return line;
}

function span([text, style]) {
  if (!style) return document.createTextNode(text);
  const run = document.createElement("span");
  run.className = style;
  run.textContent = text;
  return run;
}

// What is new is read out once it stands still; lines that only move up are not new.

const toSpeak = new Set();
const spoken = []; // by row
const passed = []; // lines that had left the screen before they were spoken
let speaking = null;

function hearScrolled(lines) {
  for (const runs of lines) {
    const text = runs
      .map(([part]) => part)
      .join("")
      .trim();
    if (text && text !== spoken[0]) passed.push(text);
    spoken.shift();
  }
}

function speakSoon() {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const rows = screen.querySelectorAll(".row");
    const fresh = passed.splice(0);
    for (const y of [...toSpeak].sort((one, other) => one - other)) {
      const text = rows[y].textContent.trim();
      if (text && text !== spoken[y]) fresh.push(text);
      spoken[y] = text;
    }
    toSpeak.clear();
    at("spoken").replaceChildren(
      ...fresh.slice(-SPOKEN_LINES).map((text) => {
        const line = document.createElement("p");
        line.textContent = text;
        return line;
      }),
    );
  }, SPOKEN_AFTER_MS);
}

// ---- The keys ----

function send(what) {
  if (state !== "open") return;
  socket.send(JSON.stringify({ ...what, keyboard: at("keyboard").value }));
  terminal.scrollTop = terminal.scrollHeight;
}

/** The name of a key that is more than a character; null for what comes as text, and the browser's. */
function nameOf(event) {
  const { key } = event;
  if (event.metaKey || event.getModifierState("AltGraph")) return null;
  if (NAMED.has(key)) {
    return event.shiftKey || event.ctrlKey || event.altKey ? null : key;
  }
  if (key.length !== 1) return null;
  if (event.ctrlKey && !event.altKey) {
    const pastes = event.shiftKey || key === "v";
    if (pastes || !/^[a-z@[\\\]^_? ]$/i.test(key)) return null;
    return `Ctrl+${key === " " ? "Space" : key}`;
  }
  if (event.altKey && !event.ctrlKey && key > " " && key <= "~") return `Alt+${key}`;
  return null;
}

let escapedAt = -ESCAPE_TWICE_MS;

keys.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  const name = nameOf(event);
  if (!name) return;
  event.preventDefault();
  if (name === "Escape") {
    if (event.timeStamp - escapedAt < ESCAPE_TWICE_MS) {
      terminal.focus();
      return;
    }
    escapedAt = event.timeStamp;
  }
  send({ keys: [name] });
});

function typed(event) {
  if (event.isComposing) return;
  if (keys.value) send({ text: keys.value });
  keys.value = "";
}
keys.addEventListener("input", typed);
keys.addEventListener("compositionend", typed);
keys.addEventListener("beforeinput", (event) => {
  if (event.inputType !== "deleteContentBackward" || event.isComposing) return;
  event.preventDefault(); // from a keyboard on glass, which tells no key
  send({ keys: ["Backspace"] });
});

// A click is to type; marking text with the mouse is to copy it.
terminal.addEventListener("mouseup", () => {
  if (getSelection().isCollapsed) keys.focus({ preventScroll: true });
});
terminal.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  keys.focus({ preventScroll: true });
});
place.addEventListener("mousedown", (event) => {
  if (event.target.closest("[data-send]")) event.preventDefault(); // the focus stays where it is
});
place.addEventListener("click", (event) => {
  const button = event.target.closest("[data-send]");
  if (button) send({ keys: [button.dataset.send] });
});

connect();
