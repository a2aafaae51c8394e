// The frame of every page: words, requests, theme, language, the dot, notices, the help sheet, keys.

const words = JSON.parse(document.getElementById("words").textContent);

// The address of a path of ours, where a proxy has the server under a path of its own.
const root = document.documentElement.dataset.root ?? "";
export const at = (path) => (path.startsWith(`${root}/`) ? path : root + path);

export function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export const $ = (id) => document.getElementById(id);

// A request that changes something; throws an Error that a person can read.
export async function post(url, body = {}) {
  let answer;
  try {
    answer = await fetch(at(url), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw new Error(say("offline"));
  }
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const why = value.error?.message ?? value.error ?? value.detail?.[0]?.msg ?? `HTTP ${answer.status}`;
    throw Object.assign(new Error(say("failed", { why })), { status: answer.status });
  }
  return value;
}

let noticeTimer;
export function notice(text, action, act) {
  const box = $("notice");
  box.textContent = text;
  if (action) {
    const button = document.createElement("button");
    button.textContent = action;
    button.onclick = () => { box.hidden = true; act(); };
    box.append(button);
  }
  box.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { box.hidden = true; }, 8000);
}

export function typing(target) {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;
}

// Copies text, and says so on the button.
export async function copy(text, button) {
  const label = button.querySelector("span") ?? button;
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = say("copied");
  } catch (error) {
    notice(String(error.message ?? error));
  }
  setTimeout(() => { label.textContent = before; }, 1500);
}

function remember(name, value) {
  document.cookie = `${name}=${value}; path=${root || "/"}; max-age=31536000; SameSite=Lax`;
}

$("language").onclick = (event) => {
  remember("kaiwa_language", event.currentTarget.dataset.other);
  location.reload();
};

$("theme").onclick = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("kaiwa_theme", root.dataset.theme);
};

// The dot, which pages of labellers do not have. Only a page that is looked at keeps a line open: browsers allow six to one server.
const dot = $("engine");
let line;
function show({ state, speed, why }) {
  dot.dataset.state = state;
  dot.lastElementChild.textContent = state === "working" && speed ? say("speed", { n: speed }) : say(`engine.${state}`);
  dot.title = why ?? "";
}
function listen() {
  line?.close();
  line = undefined;
  if (document.hidden || !dot) return;
  line = new EventSource(at("/events"));
  line.onmessage = (event) => show(JSON.parse(event.data));
  line.onerror = () => show({ state: "offline" });
}
document.addEventListener("visibilitychange", listen);
addEventListener("pagehide", () => line?.close());
addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
listen();

if ($("help")) {
  $("help-open").onclick = () => $("help").showModal();
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "?") { $("help").showModal(); event.preventDefault(); }
    if (event.key === "n") location.href = at("/chat");
  });
}
