// What a person is writing: input methods, height, and drafts that survive a reload or a look at another chat.

// True while an input method converts. Safari ends the composition before the keydown of its Enter, so `isComposing`
// alone is false there; the key code 229 says that the input method had the key.
export function composing(event) {
  return event.isComposing || event.keyCode === 229;
}

export function grow(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

// A full or forbidden storage only costs what would have been remembered.
const guard = (act) => { try { return act() ?? ""; } catch { return ""; } };

// The model that this tab's new chats begin with.
export const lastModel = {
  read: () => guard(() => sessionStorage.getItem("kaiwa model")),
  keep: (name) => guard(() => sessionStorage.setItem("kaiwa model", name)),
};

// The draft of one chat (null: a new one).
export function drafts(chat) {
  const name = `kaiwa draft ${chat ?? "new"}`;
  return {
    read: () => guard(() => localStorage.getItem(name)),
    keep: (text) => guard(() => (text ? localStorage.setItem(name, text) : localStorage.removeItem(name))),
    forget: () => guard(() => localStorage.removeItem(name)),
  };
}
