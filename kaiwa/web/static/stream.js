// One answer as it is written: text is only ever appended, whole characters at a time, never jumping.

import { at, say } from "./frame.js";

const NEAR = 80; // pixels from the end that count as "reading the newest"

export function atEnd(box) {
  return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
}

// Follows the answer in `article`; `over(article)` is called once when it has ended. Returns a function that lets go.
export function follow(article, box, over) {
  const said = article.querySelector(".said");
  const waiting = article.querySelector(".waiting");
  let text; // the node of the line being written
  let have = Number(said.dataset.live); // code points, as the server counts
  let source;

  // A block a line: what comes in makes the browser lay out its own line again, never the whole answer.
  function write(piece) {
    piece.split("\n").forEach((part, i) => {
      if (i || !text) {
        text = document.createTextNode("");
        const line = document.createElement("div");
        line.append(text);
        said.append(line);
      }
      text.appendData(part);
    });
  }
  const before = said.textContent;
  said.textContent = "";
  if (before) write(before);

  function open() {
    source = new EventSource(at(`/chat/messages/${article.dataset.id}/live?at=${have}`));
    source.addEventListener("text", (event) => {
      const stay = atEnd(box);
      have = Number(event.lastEventId);
      write(JSON.parse(event.data).text);
      waiting.classList.remove("lost");
      if (stay) box.scrollTop = box.scrollHeight;
    });
    source.addEventListener("waiting", (event) => {
      const what = JSON.parse(event.data).waiting;
      waiting.textContent = what ? say(`waiting.${what}`) : say("thinking");
    });
    source.addEventListener("over", () => { close(); over(article); });
    source.onerror = () => {
      waiting.textContent = say("reconnecting");
      waiting.classList.add("lost");
      if (source.readyState === EventSource.CLOSED) setTimeout(() => { if (source) { close(); open(); } }, 2000);
    };
  }

  function close() {
    source?.close();
    source = undefined;
  }

  // A page nobody looks at lets its line go (the server writes on) and takes it up again where it was.
  function look() {
    if (!article.isConnected) return letGo();
    if (document.hidden) close();
    else if (!source) open();
  }
  function letGo() {
    close();
    document.removeEventListener("visibilitychange", look);
  }
  document.addEventListener("visibilitychange", look);
  open();
  return letGo;
}
