// Keys press what a page shows: an element with data-key="d" is clicked by the key D.

function isTyping(target) {
  return target instanceof HTMLTextAreaElement
    || target instanceof HTMLSelectElement
    || (target instanceof HTMLInputElement && target.type !== "range");
}

// A key that a page acts on, or that makes a browser leave it: Escape stops what is being loaded.
function isOfPage(key) {
  return key.length === 1 || key.startsWith("Arrow") || ["Escape", "Enter", "Backspace"].includes(key);
}

// Calls `act` with a key's name in lower case; never while somebody types, holds the key or uses Ctrl.
// While `isBusy` says so, no key does anything.
export function onKey(act, isBusy = () => false) {
  document.addEventListener("keydown", (event) => {
    if (isBusy() && !event.ctrlKey && !event.metaKey && isOfPage(event.key)) {
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    const key = event.key.toLowerCase();
    if (isTyping(event.target)) {
      if (key === "escape") event.target.blur();
      return;
    }
    if (event.target instanceof HTMLInputElement && key.startsWith("arrow")) return;
    if (act(key)) event.preventDefault();
  });
}

export function press(key) {
  for (const element of document.querySelectorAll("[data-key]")) {
    if (element.dataset.key.split(" ").includes(key)) {
      element.click();
      return true;
    }
  }
  return false;
}
