// The page of one boot: fetched again whenever something of this boot has changed.

import { announce, on, refresh } from "./page.js";
import { grow } from "./waterfall.js";

const part = document.getElementById("boot");
let told = part?.querySelector(".badge").textContent;

on("boot", (boot) => {
  if (boot.id === part?.dataset.boot) refresh();
});

on("refreshed", () => {
  const now = part?.querySelector(".badge").textContent;
  if (now !== told) announce(`Now: ${now}`);
  told = now;
});

grow();
setInterval(grow, 1000);
