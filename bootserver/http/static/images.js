// The page of images: add, edit, delete, build a stub; it is fetched again when one changes.

import { call, upload } from "./api.js";
import { onSend, open } from "./dialogs.js";
import { megabytes } from "./format.js";
import { announce, guarded, on, refresh } from "./page.js";
import { openStubDialog } from "./stub.js";

const addForm = document.getElementById("add-form");
const editForm = document.getElementById("edit-form");
const deleteForm = document.getElementById("delete-form");

on("images", refresh);
on("job", (job) => {
  if (job.state === "done") announce(`${job.image} is added`);
  if (job.state === "failed") announce(`${name(job)} could not be added`);
  refresh();
});

function name({ kind, image, source }) {
  return kind === "optimize" ? `a new image of ${source}` : image || source;
}

document.addEventListener(
  "click",
  guarded(async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { stub, edit, cancel } = button.dataset;
    if (stub !== undefined) openStubDialog(stub);
    else if (edit !== undefined) await openEdit(edit);
    else if (button.dataset.delete !== undefined) openDelete(button.dataset.delete);
    else if (button.dataset.open === "add-dialog") openAdd();
    else if (cancel !== undefined) await call("DELETE", `/jobs/${cancel}`).finally(refresh);
  }),
);

async function openEdit(image) {
  const path = `/images/${encodeURIComponent(image)}/settings`;
  const { value, etag } = await call("GET", path);
  open(editForm, { name: image, values: value });
  Object.assign(editForm.dataset, { path, etag });
}

onSend(editForm, async (data) => {
  const { path, etag } = editForm.dataset;
  await call("PUT", path, { body: Object.fromEntries(data), etag });
  await refresh();
});

function openDelete(image) {
  open(deleteForm, { name: image });
  deleteForm.dataset.image = image;
}

onSend(deleteForm, async () => {
  const { image } = deleteForm.dataset;
  const path = `/images/${encodeURIComponent(image)}`;
  await call("DELETE", path);
  announce(`${image} is deleted`);
  await refresh();
});

// Adding: by URL it is a job of the server's; from a file the bytes go up from here.

const bar = addForm.querySelector(".upload");
let uploading = null;

function openAdd() {
  open(addForm);
  bar.hidden = true;
  showSource();
}

function showSource() {
  const from = addForm.elements.from.value;
  for (const field of addForm.querySelectorAll("[data-when]")) {
    field.hidden = field.dataset.when !== from;
    field.querySelector("input").required = !field.hidden;
  }
}

addForm.addEventListener("change", (event) => {
  if (event.target.name === "from") showSource();
});

onSend(addForm, async (data) => {
  const name = data.get("name").trim();
  const sha256 = data.get("sha256").trim();
  if (data.get("from") === "url") {
    await call("POST", "/images", { body: { url: data.get("url").trim(), sha256, name } });
  } else {
    const file = data.get("file");
    bar.hidden = false;
    uploading = new AbortController();
    try {
      await upload(
        "/images",
        file,
        { name: name || file.name, sha256 },
        showUpload,
        uploading.signal,
      );
    } finally {
      uploading = null;
      bar.hidden = true;
    }
  }
  await refresh();
});

addForm.closest("dialog").addEventListener("close", () => uploading?.abort());

function showUpload(sent, total) {
  bar.querySelector("progress").value = total ? (100 * sent) / total : 0;
  bar.querySelector("p").textContent = `${megabytes(sent)} of ${megabytes(total)}`;
}
