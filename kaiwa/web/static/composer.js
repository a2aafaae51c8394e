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

// The draft of one chat (null: a new one). A full or forbidden storage only costs the draft.
export function drafts(chat) {
  const name = `kaiwa draft ${chat ?? "new"}`;
  const guard = (act) => { try { return act() ?? ""; } catch { return ""; } };
  return {
    read: () => guard(() => localStorage.getItem(name)),
    keep: (text) => guard(() => (text ? localStorage.setItem(name, text) : localStorage.removeItem(name))),
    forget: () => guard(() => localStorage.removeItem(name)),
  };
}
