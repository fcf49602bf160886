// The service's API: every failure becomes an Error whose message is the service's own.

const KEY = "taskaware-key";

export function key() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function setKey(value) {
  sessionStorage.setItem(KEY, value);
}

export class NeedsKey extends Error {}

async function asked(path, options = {}) {
  const headers = { ...options.headers };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  if (response.ok) return response.json();
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // What stands between us and the service answered in its own way.
  }
  if (response.status === 401) throw new NeedsKey(message);
  if (response.status === 429) message = `The service is busy: ${message}`;
  throw new Error(message);
}

export const get = (path) => asked(path);

export const post = (path, body) =>
  asked(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

export function upload(path, blob) {
  const form = new FormData();
  form.append("file", blob, "recording");
  return asked(path, { method: "POST", body: form });
}

export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(blob);
  });
}
