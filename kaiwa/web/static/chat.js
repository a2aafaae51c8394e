// Chat: send, stop, again, edit, versions, settings. The server keeps the chat; this page only shows it.

import { $, at, copy, notice, post, say, typing } from "./frame.js";
import { composing, drafts, grow, lastModel } from "./composer.js";
import { atEnd, follow } from "./stream.js";
import "./lines.js";

const main = $("main"), thread = $("thread"), box = $("scroll"), text = $("text"), model = $("model");
const cards = JSON.parse($("cards").textContent);
let letGo; // of the answer being followed
let busy = false; // a request is under way

const chatId = () => (main.dataset.chat ? Number(main.dataset.chat) : null);

function settings() {
  const seed = $("seed").value.trim();
  return {
    system: $("system").value,
    temperature: Number($("temperature").value),
    top_p: Number($("top_p").value),
    max_tokens: Number($("max_tokens").value) || 512,
    seed: seed === "" ? null : Number(seed),
    more: Object.fromEntries([...document.querySelectorAll("[data-more]")]
      .filter((input) => input.value.trim() !== "").map((input) => [input.dataset.more, Number(input.value)])),
  };
}

const request = (more) => ({ model: model.value, settings: settings(), ...more });
const live = () => thread.querySelector('[data-state="streaming"]');

function refresh() {
  const streaming = live() !== null;
  $("stop").hidden = !streaming;
  $("send").hidden = streaming;
  $("send").disabled = busy || !model.value || !text.value.trim();
  $("welcome").hidden = thread.querySelector(".message") !== null;
}

function decorate() {
  for (const pre of thread.querySelectorAll(".prose pre:not(:has(button))")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = say("copy");
    button.onclick = () => copy(pre.querySelector("code").textContent, button);
    pre.append(button);
  }
}

function watch() {
  letGo?.();
  letGo = undefined;
  const article = live();
  if (article) letGo = follow(article, box, finished);
  decorate();
  refresh();
}

async function finished(article) {
  const answer = await fetch(at(`/chat/messages/${article.dataset.id}`));
  if (answer.ok && article.isConnected) {
    const stay = atEnd(box), top = box.scrollTop;
    article.outerHTML = await answer.text();
    box.scrollTop = stay ? box.scrollHeight : top;
  }
  watch();
  document.dispatchEvent(new CustomEvent("lines-changed"));
}

// Puts the messages that now follow `parent` in the place of those that did.
function place({ chat, parent, title, html }) {
  const first = parent ? $(`m${parent}`)?.nextElementSibling : thread.firstElementChild;
  for (let at = first; at; ) { const next = at.nextElementSibling; at.remove(); at = next; }
  thread.insertAdjacentHTML("beforeend", html);
  if (chatId() !== chat) {
    main.dataset.chat = chat;
    history.pushState(null, "", at(`/chat/${chat}`));
  }
  document.title = `${title} · kaiwa`;
  watch();
  document.dispatchEvent(new CustomEvent("lines-changed"));
}

async function change(url, body, end = false) {
  if (busy) return false;
  busy = true;
  refresh();
  try {
    const value = await post(url, body);
    place(value);
    if (end) box.scrollTop = box.scrollHeight;
    return true;
  } catch (error) {
    notice(error.message);
    return false;
  } finally {
    busy = false;
    refresh();
  }
}

async function send() {
  const words = text.value;
  if (!words.trim() || busy || live() || !model.value) return;
  const last = thread.querySelector(".message:last-of-type");
  const parent = last ? Number(last.dataset.id) : null;
  const draft = drafts(chatId());
  text.value = "";
  grow(text);
  if (await change("/chat/send", request({ chat: chatId(), parent, text: words }), true)) draft.forget();
  else if (!text.value) { text.value = words; grow(text); refresh(); }
}

async function stop() {
  const article = live();
  if (article) await post(`/chat/messages/${article.dataset.id}/stop`).catch((error) => notice(error.message));
}

function edit(article) {
  if (article.classList.contains("editing")) return;
  const area = document.createElement("textarea");
  area.className = "editor";
  area.value = article.dataset.text;
  const row = document.createElement("div");
  row.className = "editor-row";
  const person = article.classList.contains("user");
  const done = () => { area.remove(); row.remove(); article.classList.remove("editing"); };
  const save = async () => {
    if (area.value.trim() && await change(`/chat/messages/${article.dataset.id}/edit`, request({ text: area.value }))) done();
  };
  for (const [name, style, act] of [[person ? "save" : "save_only", "go", save], ["cancel", "plain", done]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = style;
    button.textContent = say(name);
    button.onclick = act;
    row.append(button);
  }
  area.onkeydown = (event) => {
    if (composing(event)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
    if (event.key === "Escape") { done(); event.stopPropagation(); }
  };
  article.classList.add("editing");
  article.append(area, row);
  area.focus();
}

thread.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const article = event.target.closest(".message");
  if (!button || !article) return;
  if (button.dataset.flip) change(`/chat/messages/${button.dataset.flip}/flip`, {});
  if (button.dataset.do === "again") change(`/chat/messages/${article.dataset.id}/again`, request({}));
  if (button.dataset.do === "edit") edit(article);
  if (button.dataset.do === "copy") copy(article.dataset.text, button);
});

$("composer").addEventListener("submit", (event) => { event.preventDefault(); send(); });
$("stop").onclick = stop;
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || composing(event)) return;
  event.preventDefault();
  send();
});
text.addEventListener("input", () => { grow(text); drafts(chatId()).keep(text.value); refresh(); });

// The card of the chosen model: what it is, what it speaks, what to begin with.
function introduce() {
  const card = cards[model.value];
  $("about").textContent = card?.about ?? "";
  const page = document.documentElement.lang;
  const alone = card?.languages.length === 1 && card.languages[0] !== page ? card.languages[0] : "";
  const lines = [];
  if (alone) lines.push(say(`spoken_${alone}`, { model: model.value }));
  if (card?.state === "failed") lines.push(say("model_failed", { model: model.value, why: card.why }));
  $("spoken").textContent = lines.join(" ");
  $("spoken").hidden = lines.length === 0;
  $("starters").replaceChildren(...(card?.starters ?? []).map((starter) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = starter;
    button.lang = card.languages.includes(page) ? page : card.languages[0] ?? page;
    button.onclick = () => { text.value = starter; send(); };
    return button;
  }));
  refresh();
}
model.addEventListener("change", () => { lastModel.keep(model.value); introduce(); });

function panel(open) {
  $("settings").hidden = !open;
  $("settings-open").setAttribute("aria-expanded", String(open));
  if (open) $("system").focus(); else text.focus();
}
$("settings-open").onclick = () => panel($("settings").hidden);
$("settings-close").onclick = () => panel(false);
for (const range of document.querySelectorAll('.side input[type="range"]')) {
  range.addEventListener("input", () => { document.querySelector(`output[for="${range.id}"]`).textContent = range.value; });
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (live()) stop();
    else if (!$("settings").hidden) panel(false);
  }
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key === "i") { text.focus(); event.preventDefault(); }
  if (event.key === "s") { panel($("settings").hidden); event.preventDefault(); }
  if (event.key === "[" || event.key === "]") {
    const pairs = thread.querySelectorAll(".versions");
    pairs[pairs.length - 1]?.querySelectorAll("button")[event.key === "[" ? 0 : 1].click();
  }
});
addEventListener("popstate", () => location.reload());
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

if (chatId() === null && !location.search && lastModel.read() in cards) model.value = lastModel.read();
text.value = drafts(chatId()).read();
grow(text);
introduce();
watch();
box.scrollTop = box.scrollHeight;
