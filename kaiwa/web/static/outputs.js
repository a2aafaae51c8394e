// A text that people judge: plain, whole characters, folded when long, differing words marked on request.

import { say } from "./frame.js";

const FOLDED = 4000; // characters of a folded text that are laid out
const MOST_WORDS = 600; // of two texts that are compared

export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export function button(className, label, act, name = "") {
  const made = element("button", className, label);
  made.type = "button";
  made.onclick = act;
  if (name) made.setAttribute("aria-label", name);
  return made;
}

// A block with the text, folded at twelve lines where it is longer, with a button "all".
export function textBlock(text, open = false) {
  const box = element("div", "text-box");
  const body = element("div", "text");
  body.dir = "auto";
  body.textContent = text.trim() ? text : say("label.empty");
  body.classList.toggle("none", !text.trim());
  box.append(body);
  if (open) return box;
  const short = text.length > FOLDED ? text.slice(0, FOLDED) : text;
  if (text.trim()) body.textContent = short;
  body.classList.add("folded");
  requestAnimationFrame(() => { // how high it is shows once it is in the page
    if (short === text && body.scrollHeight <= body.clientHeight + 4) return body.classList.remove("folded");
    const all = button("quiet all", say("label.all"), () => {
      const folded = body.classList.toggle("folded");
      body.textContent = folded ? short : text;
      all.textContent = say(folded ? "label.all" : "label.less");
      all.setAttribute("aria-expanded", String(!folded));
    });
    all.setAttribute("aria-expanded", "false");
    box.append(all);
  });
  return box;
}

export function conversation(messages) {
  return messages.map((message) => {
    const turn = element("div", `turn ${message.role}`);
    turn.append(element("p", "who", say(`role.${message.role}`)), textBlock(message.content));
    return turn;
  });
}

// The words of two texts, each with whether the other has it at its place (longest common subsequence).
export function differing(one, other) {
  const a = one.split(/(\s+|(?<=[^\x00-\x7f]))/u).filter(Boolean), b = other.split(/(\s+|(?<=[^\x00-\x7f]))/u).filter(Boolean);
  if (a.length > MOST_WORDS || b.length > MOST_WORDS) return [[[one, false]], [[other, false]]];
  const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  const left = [], right = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { left.push([a[i++], false]); right.push([b[j++], false]); }
    else if (j >= b.length || (i < a.length && length[i + 1][j] >= length[i][j + 1])) left.push([a[i++], true]);
    else right.push([b[j++], true]);
  }
  return [left, right];
}

export function marked(words) {
  const body = element("div", "text");
  body.dir = "auto";
  for (const [word, differs] of words) body.append(differs && word.trim() ? element("mark", "", word) : word);
  return body;
}
