// The page of drivers: add an archive, delete one.

import { call, upload } from "./api.js";
import { onSend, open } from "./dialogs.js";
import { announce, guarded, refresh } from "./page.js";

const addForm = document.getElementById("add-form");
const deleteForm = document.getElementById("delete-form");

document.addEventListener(
  "click",
  guarded((event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.open === "add-dialog") open(addForm);
    else if (button.dataset.delete !== undefined) openDelete(button.dataset.delete);
  }),
);

onSend(addForm, async (data) => {
  const file = data.get("file");
  await upload("/drivers", file, { name: file.name });
  announce(`${file.name} is added`);
  await refresh();
});

function openDelete(name) {
  open(deleteForm, { name });
  deleteForm.dataset.driver = name;
}

onSend(deleteForm, async () => {
  const name = deleteForm.dataset.driver;
  await call("DELETE", `/drivers/${encodeURIComponent(name)}`);
  announce(`${name} is deleted`);
  await refresh();
});
