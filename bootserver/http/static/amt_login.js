// How AMT is reached just this once: the fields that every form has which speaks to a machine.

import { Refused } from "./api.js";

/** What the form says of how AMT is reached; nothing where it is left as configured. */
export function loginOf(data) {
  const login = {};
  const tls = data.get("tls");
  if (data.get("user").trim()) login.user = data.get("user").trim();
  if (data.get("password")) login.password = data.get("password");
  if (tls) login.tls = tls !== "plain";
  if (tls === "legacy") login.legacy_tls = true;
  return login;
}

/** Do it; if a password is missing or wrong, open the form's fields for one. */
export async function withLogin(form, action) {
  try {
    return await action();
  } catch (error) {
    if (error instanceof Refused && error.status === 422) openLogin(form);
    throw error;
  }
}

/** Open those fields. */
export function openLogin(form) {
  form.querySelector("[data-login]").open = true;
  form.elements.password.focus();
}
