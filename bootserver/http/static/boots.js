// The page of boots: numbers move with each event, the rest is fetched when a phase changes.

import { clock, megabytes, progress, speed } from "./format.js";
import { announce, on, refresh } from "./page.js";
import { grow } from "./waterfall.js";

const ENDS = new Set(["os_up", "failed", "expired"]);
const TRIES = 5; // to find on the page what an event told: pages come from the ledger, a bit later

const live = document.getElementById("live");
const latest = new Map(); // the last event of each boot, which may be newer than a fetched page
const news = new Map(); // boots that the page does not show as they are, and how often we looked

on("boot", (boot) => {
  latest.set(boot.id, boot);
  showTotal();
  const card = cardOf(boot);
  if (card) show(card, boot);
  if (card && isSame(card, boot)) return;
  news.set(boot.id, 0);
  refresh();
});

on("images", refresh);

on("refreshed", () => {
  for (const boot of latest.values()) {
    const card = cardOf(boot);
    if (card && (isSame(card, boot) || news.has(boot.id))) show(card, boot);
    else if (!news.has(boot.id)) latest.delete(boot.id); // gone to the history, or older than that
  }
  for (const [id, tries] of news) {
    const card = cardOf(latest.get(id));
    if (card ? isSame(card, latest.get(id)) : ENDS.has(latest.get(id).phase)) {
      if (card) announce(`${card.querySelector("h3").textContent}: ${card.dataset.phaseLabel}`);
      news.delete(id);
    } else if (tries < TRIES) {
      news.set(id, tries + 1);
      refresh();
    } else {
      news.delete(id);
    }
  }
  showTotal();
  showTitle();
});

const cardOf = (boot) => document.getElementById(`boot-${boot.id}`);
const isSame = (card, boot) =>
  ["phase", "stalled", "error", "image"].every((key) => card.dataset[key] === boot[key]);

function show(card, boot) {
  const [sent, size] = progress(boot);
  const fields = {
    sent: megabytes(sent),
    size: megabytes(size),
    speed: speed(boot.bytes_per_s),
    left: clock(boot.seconds_left),
  };
  for (const [name, text] of Object.entries(fields)) {
    card.querySelector(`[data-show=${name}]`).textContent = text;
  }
  const done = size ? Math.min(100, (100 * sent) / size) : 0;
  card.querySelector("[data-show=progress]").value = done;
}

function showTotal() {
  const moving = [...latest.values()].filter((boot) => boot.seconds_left !== null);
  const total = moving.reduce((sum, boot) => sum + boot.bytes_per_s, 0);
  document.getElementById("total-speed").textContent = speed(total);
}

function showTitle() {
  const count = live.querySelectorAll("[data-boot]").length;
  document.title = count ? `${count} booting · bootserver` : "Boots · bootserver";
}

showTitle();
grow();
setInterval(grow, 1000);
// What stands still sends no events, and must leave the page all the same.
setInterval(() => live.querySelector("[data-boot]") && refresh(), 15_000);
