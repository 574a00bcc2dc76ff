// What is typed as a note outlives a login that ends: each tab keeps it, by person and part, until it is decided.

const STORED = "partgate.note.";

export function forgetDecided() {
  const decided = document.querySelector("[data-decided]")?.dataset.decided;
  if (decided) window.sessionStorage.removeItem(STORED + decided);
}

export function setUpDraft(note) {
  forgetDecided();
  if (!note) return;
  const stored = STORED + note.dataset.draft;
  if (!note.value) note.value = window.sessionStorage.getItem(stored) ?? "";
  note.addEventListener("input", () => {
    if (note.value) window.sessionStorage.setItem(stored, note.value);
    else window.sessionStorage.removeItem(stored);
  });
}
