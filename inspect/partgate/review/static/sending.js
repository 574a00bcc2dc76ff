// While a decision is on its way nothing else acts: a page that is left gives it up, or hides that it was refused.

export function setUpSending(form) {
  const isSent = () => form?.dataset.sent === "true";

  for (const kind of ["click", "dblclick", "submit"]) {
    document.addEventListener(kind, (event) => {
      if (!isSent()) return;
      event.preventDefault();
      event.stopPropagation();
    }, { capture: true });
  }

  form?.addEventListener("submit", (event) => {
    form.dataset.sent = "true";
    event.submitter?.classList.add("pressed");
  });

  return isSent;
}
