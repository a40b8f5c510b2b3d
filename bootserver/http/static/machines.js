// The page of machines: what each boots next is set and forgotten here.

import { onStarted, openBoot } from "./amt_boot.js";
import { call } from "./api.js";
import { onSend, open } from "./dialogs.js";
import { announce, guarded, on, refresh } from "./page.js";

const form = document.getElementById("set-form");
const kinds = form.elements.kind;
let names = {}; // of the machine that is being set

document.addEventListener(
  "click",
  guarded(async (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.set !== undefined) openSet(button);
    else if (button?.dataset.bootHost !== undefined) openBoot(bootOf(button));
    else if (button?.dataset.forget !== undefined) await forget(button);
  }),
);

const bootOf = ({ dataset }) => ({ host: dataset.bootHost, title: dataset.title });
onStarted((boot) => location.assign(`/amt#boot-${boot.id}`)); // where it can be watched

on("boot", (boot) => {
  if (!seen.has(boot.id + boot.phase)) refresh();
  seen.add(boot.id + boot.phase);
});
const seen = new Set();

function openSet(button) {
  names = button.dataset.set ? JSON.parse(button.dataset.set) : {};
  open(form, { name: button.dataset.title || "another machine" });
  kinds.value = Object.keys(names)[0] ?? "mac";
  form.elements.value.value = names[kinds.value] ?? "";
}

kinds.addEventListener("change", () => (form.elements.value.value = names[kinds.value] ?? ""));

onSend(form, async (data) => {
  const once = data.get("once") === "yes";
  const said = Object.fromEntries(
    ["image", "entry", "arguments", "memdisk"].map((key) => [key, data.get(key).trim()]),
  );
  const who = { [data.get("kind")]: data.get("value").trim() };
  const former = await sameProfile(who, once);
  const { value } = former
    ? await call("PUT", `/profiles/${former.id}`, { body: said, etag: former.etag })
    : await call("POST", "/profiles", { body: { ...said, ...who, once } });
  announce(value.warning ? `Set. Beware: ${value.warning}` : "Set");
  await refresh();
});

/** The profile that is set for exactly these names, whose place the new one takes. */
async function sameProfile(who, once) {
  const { value } = await call("GET", "/profiles");
  const [[kind, name]] = Object.entries(who);
  const plain = (text) => text.toLowerCase().replaceAll("-", ":");
  return value.profiles.find(
    (profile) =>
      profile.once === once &&
      ["mac", "uuid", "serial", "asset"].every((key) =>
        key === kind ? plain(profile[key]) === plain(name) : !profile[key],
      ),
  );
}

async function forget(button) {
  await call("DELETE", `/profiles/${button.dataset.forget}`, { etag: button.dataset.etag });
  announce("Forgotten");
  await refresh();
  document.getElementById("main").focus();
}
