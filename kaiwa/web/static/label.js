// Label: one output at a time, then all in ranks. The draft lives in this browser until the server has the judgement.

import { $, notice, post, say, typing } from "./frame.js";
import { conversation, textBlock } from "./outputs.js";
import { announce, append, drawRanking, fromRanks, LETTERS, Pins, written } from "./ranking.js";

const main = $("main"), base = main.dataset.base;
const RETRY = 2000; // milliseconds
const UNDOABLE = 200;
let state = JSON.parse($("state").textContent);
let draft, tieNext = false, sending = false, since = performance.now();
const pins = new Pins(() => draw());
const key = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
const k = () => state.item.outputs.length;

// What is kept in the browser: the draft of each open item, and an answer on its way.
const stored = {
  read(name) { try { return JSON.parse(localStorage.getItem(base + name)); } catch { return null; } },
  write(name, value) { try { localStorage.setItem(base + name, JSON.stringify(value)); } catch { /* a full or closed storage: the page still has it */ } },
  drop(name) { try { localStorage.removeItem(base + name); } catch { /* as above */ } },
};

function begin() {
  const item = state.item;
  pins.clear();
  tieNext = false;
  since = performance.now();
  if (!item) { draft = null; return draw(); }
  const kept = stored.read(`/${item.id}`);
  const answer = item.answer;
  draft = kept?.key ? kept : {
    key: key(), at: 0, pane: "rate", seconds: 0, past: [], events: answer ? [{ key: key(), kind: "reopen", at: Date.now() / 1000 }] : [],
    ratings: answer?.ratings.length ? answer.ratings : Array(k()).fill(0),
    flags: answer?.flags.length ? answer.flags : Array(k()).fill(""),
    promptFlags: answer?.prompt_flags ?? "",
    groups: answer?.ranks.length ? fromRanks(answer.ranks) : [],
  };
  $("prompt").replaceChildren(...conversation(item.prompt));
  draw();
}

function keep() {
  const now = performance.now();
  if (!document.hidden) draft.seconds += (now - since) / 1000;
  since = now;
  stored.write(`/${state.item.id}`, draft);
}

const note = (kind, detail = "") => draft.events.push({ key: key(), kind, detail, at: Date.now() / 1000 });

// Changes the draft after remembering it, so that every step can be taken back.
function step(act) {
  const { ratings, flags, promptFlags, groups, at, pane } = draft;
  draft.past = [...draft.past, JSON.stringify({ ratings, flags, promptFlags, groups, at, pane })].slice(-UNDOABLE);
  act();
  keep();
  draw();
}

function undo() {
  if (sending) return;
  if (draft?.past.length) {
    note("undo");
    Object.assign(draft, JSON.parse(draft.past.pop()));
    tieNext = false;
    keep();
    return draw();
  }
  goBack();
}

async function goBack() {
  const answer = await fetch(`${base}/previous?before=${state.item?.id ?? 0}`).catch(() => null);
  if (!answer?.ok) return notice(answer ? say("label.first") : say("offline"));
  state = await answer.json();
  begin();
}

function rate(rating) {
  const before = draft.ratings[draft.at];
  step(() => {
    draft.ratings = draft.ratings.with ? draft.ratings.with(draft.at, rating) : Object.assign([...draft.ratings], { [draft.at]: rating });
    if (before && before !== rating) note("change", `${LETTERS[draft.at]} ${before} ${rating}`);
    const next = draft.ratings.indexOf(0);
    if (next >= 0) draft.at = draft.at + 1 < k() && !draft.ratings[draft.at + 1] ? draft.at + 1 : next;
    else if (k() > 1) draft.pane = "rank";
  });
}

function flag(letter, ofPrompt) {
  const turn = (text) => (text.includes(letter) ? text.replace(letter, "") : text + letter);
  step(() => {
    if (ofPrompt) draft.promptFlags = turn(draft.promptFlags);
    else draft.flags = draft.flags.map((text, i) => (i === draft.at ? turn(text) : text));
  });
}

function change(act, i) {
  const whole = draft.groups.flat().length === k();
  const focus = document.activeElement?.closest(".card-row")?.dataset.output;
  step(() => {
    draft.groups = act(draft.groups);
    if (whole) note("change", written(draft.groups));
  });
  tieNext = false;
  $("say").textContent = announce(draft.groups, i, k());
  if (focus !== undefined) document.querySelector(`.card-row[data-output="${focus}"] .letter`)?.focus();
}

const ready = () => draft && draft.ratings.every(Boolean) && (k() === 1 || (draft.pane === "rank" && draft.groups.flat().length === k()));

function finish() {
  if (sending) return;
  if (!ready()) return notice(say("label.not_all"));
  keep();
  const { key: id, ratings, flags, promptFlags, groups, seconds, events } = draft;
  send({ url: "/finish", item: state.item.id, body: {
    assignment: state.item.id, key: id, ratings, flags, prompt_flags: promptFlags, ranking: k() > 1 ? written(groups) : "",
    seconds: Math.round(seconds * 10) / 10, instruction: state.instruction, events: events.slice(-500),
  } });
}

// Sends until the server has it. What the server refuses for good stays as a draft, with the reason.
async function send(letter) {
  sending = true;
  stored.write("/outbox", letter);
  main.setAttribute("aria-busy", "true");
  draw();
  for (;;) {
    try {
      const next = await post(base + letter.url, letter.body);
      stored.drop("/outbox");
      stored.drop(`/${letter.item}`);
      $("kept").hidden = true;
      if (next.extra) notice(say("label.extra"));
      if (next.instruction !== state.instruction) sheetChanged();
      state = next;
      break;
    } catch (error) {
      if (error.status && error.status < 500) {
        stored.drop("/outbox");
        notice(error.message);
        if (error.status === 409 || error.status === 404) { stored.drop(`/${letter.item}`); await load(); }
        break;
      }
      $("kept").textContent = `${say("label.kept")} ${error.status ? error.message : ""}`;
      $("kept").hidden = false;
      await new Promise((done) => setTimeout(done, RETRY));
    }
  }
  sending = false;
  main.setAttribute("aria-busy", "false");
  begin();
}

async function load() {
  const answer = await fetch(`${base}/item`).catch(() => null);
  if (answer?.ok) state = await answer.json();
}

function skip() {
  if (!state.item || sending || state.item.state !== "open") return;
  const box = $("reasons");
  box.returnValue = "";
  box.showModal();
}
$("reasons").addEventListener("close", () => {
  const reason = $("reasons").returnValue;
  if (reason) send({ url: "/skip", item: state.item.id, body: { assignment: state.item.id, key: key(), reason, events: draft.events.slice(-500) } });
});
$("reasons").addEventListener("keydown", (event) => { $("reasons").querySelectorAll(".plain")[Number(event.key) - 1]?.click(); });

// The sheet opens by itself where this browser has not shown its version.
function sheet() { $("sheet").showModal(); $("sheet").scrollTop = 0; stored.write("/sheet", state.instruction); }
async function sheetChanged() {
  const answer = await fetch(`${base}/sheet`).catch(() => null);
  if (!answer?.ok) return;
  $("sheet-text").innerHTML = (await answer.json()).html;
  sheet();
}

function draw() {
  const item = state.item;
  $("over").hidden = Boolean(item);
  $("rate").hidden = !item || draft.pane !== "rate";
  $("rank").hidden = !item || draft.pane !== "rank";
  for (const part of document.querySelectorAll(".asked-for, #skip")) part.hidden = !item;
  $("skip").disabled = sending || item?.state !== "open";
  $("finish").hidden = !item || !ready();
  $("finish").disabled = sending;
  bottom();
  if (!item) return end();
  for (const one of $("prompt-flags").querySelectorAll("button")) one.setAttribute("aria-pressed", String(draft.promptFlags.includes(one.dataset.flag)));
  if (draft.pane === "rate") drawRating(item);
  else { drawRanking(item.outputs, draft.groups, change, pins); pins.show(item.outputs); }
  const place = `${item.id} ${draft.pane} ${draft.pane === "rate" ? draft.at : ""}`;
  if (main.dataset.shown !== place) {
    main.dataset.shown = place;
    $("say").textContent = draft.pane === "rate" ? $("rate-title").textContent : $("rank-title").textContent;
    scrollTo(0, 0);
  }
}

function drawRating(item) {
  const { at } = draft;
  $("rate-title").textContent = k() > 1 ? say("label.output", { letter: LETTERS[at], n: k() }) : say("label.one_output");
  const place = `${item.id} ${at}`;
  if ($("output").dataset.shown !== place) {
    $("output").dataset.shown = place;
    $("output").replaceChildren(textBlock(item.outputs[at]));
  }
  $("dots").replaceChildren(...(k() > 1 ? item.outputs : []).map((_, i) => {
    const dot = document.createElement("button");
    dot.type = "button";
    dot.className = "letter";
    dot.textContent = LETTERS[i];
    dot.setAttribute("aria-label", say(draft.ratings[i] ? "label.dot_rated" : "label.dot", { letter: LETTERS[i], rating: draft.ratings[i] }));
    dot.toggleAttribute("data-rated", Boolean(draft.ratings[i]));
    if (i === at) dot.setAttribute("aria-current", "true");
    dot.onclick = () => step(() => { draft.at = i; });
    return dot;
  }));
  for (const one of $("ratings").children) one.setAttribute("aria-pressed", String(draft.ratings[at] === Number(one.dataset.rating)));
  for (const one of $("flags").querySelectorAll("button")) one.setAttribute("aria-pressed", String(draft.flags[at].includes(one.dataset.flag)));
}

function bottom() {
  const { done, total, left, seconds } = state;
  $("bar").max = Math.max(1, total);
  $("bar").value = done;
  const parts = [say("label.done_of", { done, total })];
  if (seconds) parts.push(say("label.pace", { seconds: Math.round(seconds) }));
  if (seconds && left) parts.push(say("label.minutes", { minutes: Math.max(1, Math.round((left * seconds) / 60)) }));
  $("progress").textContent = parts.join(" · ");
}

function end() {
  const percent = (x) => Math.round(100 * x);
  const { agreement, done, open } = state;
  $("over-title").textContent = say(!open ? "label.closed" : done ? "label.thanks" : "label.nothing");
  $("over-text").textContent = agreement
    ? say("label.agreement", { mean: percent(agreement.mean), low: percent(agreement.low), high: percent(agreement.high), n: agreement.n })
    : say(done ? "label.no_agreement" : "label.come_back");
  $("say").textContent = $("over-title").textContent;
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = shortcut(letter, event.target);
  if (act) { event.preventDefault(); act(); }
}

function shortcut(letter, target) {
  const output = state.item && draft.pane === "rank" && letter.length === 1 ? LETTERS.slice(0, k()).indexOf(letter) : -1;
  if (letter === "?" || (letter === "h" && output < 0)) return sheet; // of eight outputs h is one
  if (letter === "u" || letter === "Backspace") return undo;
  if (!state.item || sending) return null;
  if (letter === "x") return skip;
  if (letter === "Enter") return target.closest("button:not(.letter), a, summary") && target.id !== "finish" ? null : finish;
  if (draft.pane === "rate") {
    if (letter >= "1" && letter <= "7") return () => rate(Number(letter));
    if ($("flags").querySelector(`[data-flag="${CSS.escape(letter)}"]`)) return () => flag(letter, false);
    if ($("prompt-flags").querySelector(`[data-flag="${CSS.escape(letter)}"]`)) return () => flag(letter, true);
    return null;
  }
  if (letter === "=") return () => { tieNext = draft.groups.length > 0; $("typed").textContent = written(draft.groups) + (tieNext ? "=" : ""); };
  if (output < 0) return null;
  if (draft.groups.flat().includes(output)) return () => { $("say").textContent = announce(draft.groups, output, k()); };
  return () => { const tied = tieNext; change((groups) => append(groups, output, tied), output); };
}

document.addEventListener("keydown", press);
$("ratings").addEventListener("click", (event) => { if (event.target.dataset.rating) rate(Number(event.target.dataset.rating)); });
for (const [id, ofPrompt] of [["flags", false], ["prompt-flags", true]]) {
  $(id).addEventListener("click", (event) => { const one = event.target.closest("[data-flag]"); if (one) flag(one.dataset.flag, ofPrompt); });
}
$("undo").onclick = undo;
$("skip").onclick = skip;
$("finish").onclick = finish;
$("sheet-open").onclick = sheet;
document.addEventListener("visibilitychange", () => { if (document.hidden && draft) keep(); since = performance.now(); });
addEventListener("pagehide", () => { if (draft && !sending) keep(); });

begin();
if (stored.read("/sheet") !== state.instruction && state.item) sheet();
const outbox = stored.read("/outbox");
if (outbox?.body) send(outbox);
