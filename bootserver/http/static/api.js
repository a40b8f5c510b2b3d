// Calls to /api/v1. What it refuses becomes an Error with its sentence and its hint.

const API = "/api/v1";

export class Refused extends Error {
  constructor(problem, status) {
    const told = problem.errors?.map((e) => (e.field ? `${e.field}: ${e.message}` : e.message));
    super(told?.length ? told.join("; ") : problem.detail || `the server answered ${status}`);
    this.hint = problem.hint || "";
    this.status = status;
  }

  get sentence() {
    return this.hint ? `${this.message}. ${this.hint}` : this.message;
  }
}

/** The answer's JSON and its ETag. */
export async function call(method, path, { body, etag } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (etag) headers["If-Match"] = etag;
  let response;
  try {
    response = await fetch(API + path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Refused({ detail: "the server does not answer" }, 0);
  }
  const text = await response.text();
  const value = parsed(text);
  if (!response.ok) throw new Refused(value, response.status);
  return { value, etag: response.headers.get("ETag") };
}

/** Send a file; fetch() cannot tell how much of it has gone out, XMLHttpRequest can. */
export function upload(path, file, query, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${API}${path}?${new URLSearchParams(query)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onProgress?.(event.loaded, event.total);
    request.onload = () => {
      const value = parsed(request.responseText);
      if (request.status < 300) resolve(value);
      else reject(new Refused(value, request.status));
    };
    request.onerror = () => reject(new Refused({ detail: "the upload broke off" }, 0));
    request.onabort = () => reject(new Refused({ detail: "the upload was cancelled" }, 0));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
