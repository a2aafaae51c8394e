// One answer as it is written: text is only ever appended, whole characters at a time, never jumping.

import { say } from "./frame.js";

const NEAR = 80; // pixels from the end that count as "reading the newest"

export function atEnd(box) {
  return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
}

// Follows the answer in `article`; `over(article)` is called once when it has ended. Returns a function that lets go.
export function follow(article, box, over) {
  const said = article.querySelector(".said");
  const waiting = article.querySelector(".waiting");
  const text = said.firstChild ?? said.appendChild(document.createTextNode(""));
  let have = Number(said.dataset.live); // code points, as the server counts
  let source;

  function open() {
    source = new EventSource(`/chat/messages/${article.dataset.id}/live?at=${have}`);
    source.addEventListener("text", (event) => {
      const stay = atEnd(box);
      have = Number(event.lastEventId);
      text.appendData(JSON.parse(event.data).text);
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
