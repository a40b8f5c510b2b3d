// Dialogs: opened with a form, closed with the focus back where it was, failures in words.

import { Refused } from "./api.js";

/** Show the dialog of `form`, for `name`, with its values set; what was left in it is cleared. */
export function open(form, { name = "", values = {} } = {}) {
  const dialog = form.closest("dialog");
  form.reset();
  for (const place of form.querySelectorAll("[data-name]")) place.textContent = name;
  for (const [key, value] of Object.entries(values)) form.elements[key].value = value;
  fail(form, "");
  const opener = document.activeElement;
  dialog.addEventListener("close", () => back(opener), { once: true });
  dialog.showModal();
}

/** Run `action` when the form is sent; it closes when that succeeds, unless it returns false. */
export function onSend(form, action) {
  const dialog = form.closest("dialog");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector(".buttons button:not([type=button])");
    if (button.disabled) return;
    fail(form, "");
    button.disabled = true;
    try {
      if ((await action(new FormData(form))) !== false) dialog.close();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      fail(form, error.sentence);
    } finally {
      button.disabled = false;
    }
  });
  for (const button of form.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => dialog.close());
  }
}

/** Show in the form why something was refused; "" for nothing. */
export function fail(form, sentence) {
  form.querySelector(".failure").textContent = sentence;
}

/** The opener may be another element now: a list was merged, or its line is gone. */
function back(opener) {
  if (opener.isConnected) opener.focus();
  else document.getElementById("main").focus();
}
