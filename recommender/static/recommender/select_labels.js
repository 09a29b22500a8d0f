/* The box that select2 shows in place of a select is read out by the name of the select; the help of Django's choice
   among many is read out as a picture's. */
function nameBoxes() {
  for (const help of document.querySelectorAll(".help-tooltip[aria-label]:not([role])")) help.role = "img";
  for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
    const name = select.getAttribute("aria-label") ?? select.labels?.[0]?.textContent.trim();
    const box = select.nextElementSibling?.querySelector("[role=combobox]:not([aria-label])");
    if (!name || !box) continue;
    for (const part of [box, box.querySelector("[role=textbox]")]) part?.setAttribute("aria-label", name);
  }
}

new MutationObserver(nameBoxes).observe(document.documentElement, { childList: true, subtree: true });
