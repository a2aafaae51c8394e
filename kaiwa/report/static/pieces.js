// What moves in the pieces: reading a curve, walking along a time-lapse, looking a villager up, the language of a file.
(() => {
  const make = (name, text = "", className = "") => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // Curves: the values at the pointer.
  const NS = "http://www.w3.org/2000/svg";
  const short = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString() : Number(value.toPrecision(3)).toString());
  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.(".curve svg");
    for (const old of document.querySelectorAll(".cursor, .curve .at")) old.remove();
    if (!svg) return;
    const [px0, px1, x0, x1] = svg.dataset.x.split(" ").map(Number);
    const [py0, py1, y0, y1] = svg.dataset.y.split(" ").map(Number);
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    if (at < px0 - 5 || at > px1 + 5) return;
    const told = [];
    let where = at;
    for (const line of svg.querySelectorAll(".line")) {
      const points = line.getAttribute("points").split(" ").map((pair) => pair.split(",").map(Number));
      const near = points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
      where = near[0];
      told.push(`${line.dataset.label} ${short(y0 + ((near[1] - py0) / (py1 - py0)) * (y1 - y0))}`);
    }
    const rule = document.createElementNS(NS, "line");
    for (const [name, value] of Object.entries({ x1: where, x2: where, y1: py1, y2: py0, class: "cursor" })) rule.setAttribute(name, value);
    const text = document.createElementNS(NS, "text");
    const right = where > (px0 + px1) / 2;
    for (const [name, value] of Object.entries({ x: where + (right ? -6 : 6), y: py1 + 10, class: `at ${right ? "last" : "first"}` })) text.setAttribute(name, value);
    text.textContent = `${short(x0 + ((where - px0) / (px1 - px0)) * (x1 - x0))}: ${told.join(", ")}`;
    svg.append(rule, text);
  });

  // Time-lapse: one frame at a time under a slider, which opens at the end.
  for (const list of document.querySelectorAll(".lapse ol")) {
    const slider = make("input");
    Object.assign(slider, { type: "range", min: 0, max: list.children.length - 1, value: list.children.length - 1 });
    slider.setAttribute("aria-label", list.dataset.label);
    const stops = make("div", "", "stops small");
    stops.textContent = list.dataset.starts.split(" ").map((start) => start.split(":")[1]).join(" → ");
    const show = () => {
      [...list.children].forEach((item, i) => { item.hidden = i !== Number(slider.value); });
      slider.setAttribute("aria-valuetext", list.children[slider.value].querySelector("span").textContent);
    };
    slider.oninput = show;
    list.before(slider, stops);
    list.parentElement.classList.add("walks");
    show();
  }

  // Villagers.
  const source = document.querySelector("script.village");
  const village = source ? JSON.parse(source.textContent) : null;
  const ids = new Map();
  for (const [id, person] of Object.entries(village?.people ?? {})) {
    for (const name of Object.values(person.names)) ids.set(name, id);
  }
  const pattern = ids.size ? new RegExp([...ids.keys()].sort((a, b) => b.length - a.length).map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|"), "g") : null;

  // Text with villagers' names as buttons; `marked` is set in bold.
  function linked(text, marked = "") {
    const made = document.createDocumentFragment();
    const plain = (part) => {
      const pieces = marked ? part.split(marked) : [part];
      pieces.forEach((piece, i) => { if (i) made.append(make("mark", marked)); made.append(piece); });
    };
    let end = 0;
    for (const found of pattern ? text.matchAll(pattern) : []) {
      plain(text.slice(end, found.index));
      const button = make("button", found[0], "villager");
      button.type = "button";
      button.dataset.villager = ids.get(found[0]);
      made.append(button);
      end = found.index + found[0].length;
    }
    plain(text.slice(end));
    return made;
  }

  function look(id, dialog) {
    const { labels, attributes, language } = JSON.parse(dialog.dataset.words);
    const person = village.people[id];
    const facts = person.facts[language] ?? Object.values(person.facts)[0] ?? {};
    dialog.replaceChildren(make("h2", Object.values(person.names).join(" · ")), make("h3", labels.facts));
    const list = make("dl");
    for (const [key, value] of Object.entries(facts)) list.append(make("dt", attributes[key] ?? key), make("dd", value));
    dialog.append(list, make("h3", labels.documents));
    for (const [key, value] of Object.entries(facts)) {
      const found = person.taught[`${language}.${key}`] ?? [];
      dialog.append(make("p", `${attributes[key] ?? key}: ${value}${found.length ? "" : ` (${labels.none})`}`, "small"));
      for (const number of found) {
        const quote = make("blockquote");
        quote.append(linked(village.documents[number], value));
        dialog.append(quote);
      }
    }
    dialog.append(make("h3", labels.answers));
    if (!person.asked.length) dialog.append(make("p", labels.none, "small"));
    for (const { q, a } of person.asked) {
      const asked = make("p", "", "turn");
      asked.append(linked(q));
      const answers = make("dl");
      for (const [model, [text, good]] of Object.entries(a)) {
        const told = make("dd", "", good ? "met" : "");
        told.append(linked(text));
        answers.append(make("dt", model), told);
      }
      dialog.append(asked, answers);
    }
    const close = make("button", labels.close, "close plain");
    close.onclick = () => dialog.close();
    dialog.append(close);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }
  document.addEventListener("click", (event) => {
    const name = event.target.closest(".villager[data-villager]");
    if (name && village) {
      const dialog = name.closest("dialog.person") ?? [...document.querySelectorAll("dialog.person")].find((d) => !d.closest("[hidden]"));
      if (dialog) look(name.dataset.villager, dialog);
    }
    const shown = event.target.closest("[data-show]")?.dataset.show;
    if (shown) show(shown);
  });
  function show(language) {
    document.documentElement.lang = language;
    for (const part of document.querySelectorAll("main[data-language]")) part.hidden = part.dataset.language !== language;
    for (const button of document.querySelectorAll("[data-show]")) button.setAttribute("aria-pressed", String(button.dataset.show === language));
  }
  const spoken = (navigator.languages ?? []).map((name) => name.slice(0, 2)).find((name) => name === "en" || name === "ja");
  if (spoken && document.querySelector(`[data-show="${spoken}"]`)) show(spoken); // a file follows the browser, as the pages do
})();
