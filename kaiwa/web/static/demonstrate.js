// Demonstrate: one turn at a time; a suggestion in grey that is taken by Tab, word by word by →, or ignored.

import { $, notice, post, say } from "./frame.js";
import { conversation } from "./outputs.js";

const base = $("main").dataset.base, model = new URLSearchParams(location.search).get("model") ?? "";
const PAUSE = 500; // milliseconds without a key, before a suggestion is asked for
const text = $("text");
let state = JSON.parse($("state").textContent);
let turns = [], given = 0, key = "", suggestion = null, taken = null, timer, asked = 0, since = 0, sending = false;

const fresh = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
const side = () => (turns.filter((turn) => turn.role !== "system").length % 2 ? "assistant" : "user");
const stored = {
  read() { try { return JSON.parse(localStorage.getItem(base)); } catch { return null; } },
  write(value) { try { localStorage.setItem(base, JSON.stringify(value)); } catch { /* the page still has it */ } },
  drop() { try { localStorage.removeItem(base); } catch { /* as above */ } },
};

function begin() {
  const kept = stored.read(), item = state.item;
  const prompt = (item?.prompt ?? []).map((m) => ({ role: m.role, content: m.content }));
  const mine = kept && kept.item === (item?.id ?? 0);
  ({ turns, key } = mine ? kept : { turns: prompt, key: fresh() });
  given = prompt.length;
  text.value = mine ? kept.draft : "";
  taken = mine ? kept.taken : null;
  since = performance.now();
  draw();
  ask();
}

const keep = () => stored.write({ item: state.item?.id ?? 0, turns, key, draft: text.value, taken });

function draw() {
  $("turns").replaceChildren(...conversation(turns));
  $("side").textContent = say(side() === "user" ? "demo.person" : "demo.assistant");
  $("progress").textContent = say("demo.done", { done: state.done, left: state.left });
  refresh();
}

function refresh() {
  const grey = suggestion?.text ?? "";
  const before = document.createElement("span");
  before.textContent = text.value;
  $("ghost").replaceChildren(before, grey);
  for (const id of ["take", "word"]) $(id).disabled = !grey;
  $("back").disabled = turns.length <= given;
  const last = text.value.trim() ? side() : turns.at(-1)?.role;
  $("finish").disabled = sending || last !== "assistant" || turns.length + Boolean(text.value.trim()) <= given;
  $("next").disabled = sending || !text.value.trim();
}

function forget() {
  suggestion = null;
  asked++;
  refresh();
}

// Asks for a continuation of what stands there; an answer that comes late is dropped.
async function ask() {
  const number = ++asked;
  try {
    const found = await post(`${base}/suggest`, { turns, role: side(), draft: text.value, model });
    if (number !== asked || !found.text) return;
    suggestion = found;
    $("suggested").textContent = say("demo.suggested", { text: found.text.slice(0, 300) });
    refresh();
  } catch { /* no model: one writes without */ }
}

function take(all) {
  if (!suggestion) return;
  const piece = all ? suggestion.text : suggestion.text.match(/^\s*(?:[^\x00-\x7f]|\S+)/u)?.[0] ?? suggestion.text;
  taken = { text: (taken?.text ?? "") + piece, model: suggestion.model, seed: suggestion.seed };
  text.value += piece;
  suggestion = all || piece === suggestion.text ? null : { ...suggestion, text: suggestion.text.slice(piece.length) };
  keep();
  refresh();
}

function addTurn() {
  const content = text.value.trim();
  if (!content) return;
  turns.push({ role: side(), content, suggestion: taken?.text.trim() ?? "", model: taken?.model ?? "", seed: taken?.seed ?? null });
  text.value = "";
  taken = null;
  suggestion = null;
  keep();
  draw();
}

function back() {
  if (turns.length <= given) return;
  const turn = turns.pop();
  text.value = turn.content;
  taken = turn.suggestion ? { text: turn.suggestion, model: turn.model, seed: turn.seed } : null;
  forget();
  keep();
  draw();
  text.focus();
}

async function finish() {
  addTurn();
  if (sending || turns.at(-1)?.role !== "assistant") return;
  sending = true;
  refresh();
  const body = { assignment: state.item?.id ?? 0, key, turns, seconds: Math.round((performance.now() - since) / 100) / 10, instruction: state.instruction };
  for (;;) {
    try {
      state = await post(`${base}/finish`, body);
      stored.drop();
      $("kept").hidden = true;
      notice(say("demo.thanks"));
      break;
    } catch (error) {
      if (error.status && error.status < 500) { sending = false; refresh(); return notice(error.message); }
      $("kept").textContent = say("label.kept");
      $("kept").hidden = false;
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
  sending = false;
  begin();
  text.focus();
}

text.addEventListener("input", () => {
  const grey = suggestion?.text ?? "", before = $("ghost").firstChild?.textContent ?? "";
  const typed = text.value.slice(before.length);
  if (grey && text.value.startsWith(before) && typed && grey.startsWith(typed)) suggestion = { ...suggestion, text: grey.slice(typed.length) }; // typed what was suggested: it is the writer's
  else forget();
  keep();
  refresh();
  clearTimeout(timer);
  if (!suggestion) timer = setTimeout(ask, PAUSE);
});
text.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return;
  const end = text.selectionStart === text.value.length && text.selectionEnd === text.value.length;
  if (event.key === "Tab" && !event.shiftKey && suggestion) { event.preventDefault(); take(true); }
  else if (event.key === "ArrowRight" && end && suggestion && !event.shiftKey) { event.preventDefault(); take(false); }
  else if (event.key === "Escape") forget();
  else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); if (!$("finish").disabled) finish(); }
  else if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); $("writer").requestSubmit(); }
});
$("writer").addEventListener("submit", (event) => { event.preventDefault(); addTurn(); ask(); });
$("take").onclick = () => { take(true); text.focus(); };
$("word").onclick = () => { take(false); text.focus(); };
$("another").onclick = () => { forget(); ask(); text.focus(); };
$("back").onclick = back;
$("finish").onclick = finish;
$("sheet-open").onclick = () => $("sheet").showModal();
begin();
text.focus();
