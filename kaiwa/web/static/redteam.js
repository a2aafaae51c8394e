// Red team: the password game, and the stack of defences that one would serve with.

import { $, notice, post, say } from "./frame.js";

// The game.
let game = 0;
const ask = $("ask");

function line(text, name) {
  const made = document.createElement("p");
  made.className = name;
  made.textContent = text || "…";
  $("talk").append(made);
  made.scrollIntoView({ block: "nearest" });
}

function rate() {
  const bench = JSON.parse($("game").dataset.bench);
  $("rate").textContent = bench[`${$("model").value} ${$("level").value}`] ?? say("redteam.unmeasured");
}

if (ask) {
  rate();
  const fresh = () => { game = 0; $("talk").textContent = ""; $("tries").textContent = ""; $("told").textContent = ""; rate(); };
  $("level").onchange = fresh;
  $("model").onchange = fresh;
  ask.addEventListener("submit", async (event) => {
    event.preventDefault();
    const box = $("words-to-say");
    const text = box.value.trim();
    const button = ask.querySelector("button");
    if (!text || button.disabled) return;
    button.disabled = true;
    line(text, "mine");
    try {
      const found = await post("/redteam/game/say", { game, level: Number($("level").value), model: $("model").value, text });
      game = found.game;
      line(found.text, "keeper");
      $("hint").textContent = found.hint;
      $("tries").textContent = say("redteam.tries", { n: found.tries });
      box.value = "";
    } catch (error) {
      notice(error.message);
    }
    button.disabled = false;
  });
  $("words-to-say").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); ask.requestSubmit(); }
  });
  $("guess").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const found = await post("/redteam/game/guess", { game, text: $("word").value || " " });
      $("told").textContent = found.told;
      if (found.won && $("level").selectedIndex + 1 < $("level").options.length) { $("level").selectedIndex += 1; game = 0; rate(); }
    } catch (error) {
      notice(error.message);
    }
  });
}

// The builder: parts in order, the command that measures the stack, the file that serves it.
const parts = [];
function show() {
  const list = $("parts");
  list.textContent = "";
  parts.forEach((part, i) => {
    const item = document.createElement("li");
    item.textContent = part;
    for (const [label, act] of [["↑", () => i && parts.splice(i - 1, 2, parts[i], parts[i - 1])], ["×", () => parts.splice(i, 1)]]) {
      const button = document.createElement("button");
      button.className = "quiet";
      button.type = "button";
      button.textContent = label;
      button.onclick = () => { act(); show(); };
      item.append(button);
    }
    list.append(item);
  });
  const stack = parts.join("+") || "none";
  const known = JSON.parse($("measured").dataset.arms).includes(stack);
  $("command").textContent = known ? say("redteam.known") : `kaiwa redteam run TARGET.toml --defences "none,${stack}"`;
  $("file").textContent = `defence = ${JSON.stringify(stack)}\n\nkaiwa up --defence FILE`;
}
if ($("builder")) {
  $("add").onclick = () => {
    for (const part of $("stack").value.split(/\+(?![^(]*\))/)) if (!parts.includes(part)) parts.push(part);
    show();
  };
  $("clear").onclick = () => { parts.length = 0; show(); };
  show();
}
