// The server that the page came from, and no other.

const KEY = "stanchion.key";

export class Problem extends Error {
  constructor({ status = 0, code = "", message, details = null, wait = 0, id = "" }) {
    super(message);
    Object.assign(this, { status, code, details, wait, id });
  }
}

export function setKey(value) {
  sessionStorage.setItem(KEY, value);
}

export async function ask(path, { body, signal } = {}) {
  const answer = await fetched(path, body, signal);
  return answer.json();
}

export async function picture(name) {
  const answer = await fetched(`attempts/pictures/${encodeURIComponent(name)}`);
  return URL.createObjectURL(await answer.blob());
}

async function fetched(path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const method = body ? "POST" : "GET";
  let answer;
  try {
    answer = await fetch(`/v1/playground${path ? `/${path}` : ""}`, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ code: "unreachable", message: "The server can’t be reached. Is it still running?" });
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

async function problemOf(answer) {
  const said = await answer.json().then((values) => values.error, () => null);
  return new Problem({
    status: answer.status,
    code: said?.code ?? "",
    message: said?.message ?? `The server answered ${answer.status}.`,
    details: said?.moderation_details ?? null,
    wait: Number(answer.headers.get("retry-after")) || 0,
    id: answer.headers.get("x-request-id") ?? "",
  });
}
