// The dialog that boots a machine through its AMT.

import { loginOf, openLogin, withLogin } from "./amt_login.js";
import { call } from "./api.js";
import { onSend, open } from "./dialogs.js";
import { announce } from "./page.js";

const form = document.getElementById("amt-boot-form");

/** Ask what to boot there; `failure` is why a first try has ended. */
export function openBoot({ host, title, image, method }, failure = "") {
  form.querySelector("[data-login]").open = false;
  open(form, { name: title, values: { image: image || theOnly(), method: method || "auto" } });
  form.dataset.host = host;
  if (failure) {
    openLogin(form);
    form.querySelector(".failure").textContent = failure;
  }
}

/** Call `listener` with each boot that was started here. */
export function onStarted(listener) {
  onSend(form, async (data) => {
    const boot = await withLogin(form, () =>
      call("POST", `/machines/${encodeURIComponent(form.dataset.host)}/boot`, {
        body: {
          image: data.get("image"),
          method: data.get("method"),
          stay: data.get("stay") === "yes",
          ...loginOf(data),
        },
      }),
    );
    announce("The boot has begun");
    await listener(boot.value);
  });
}

/** The library's only image needs no choosing. */
function theOnly() {
  const images = [...form.elements.image.options].filter((option) => option.value);
  return images.length === 1 ? images[0].value : "";
}
