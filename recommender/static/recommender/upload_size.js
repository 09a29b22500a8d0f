/* Tells at once that a chosen file is too large, before it is sent for minutes in vain. The server decides. */
document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll("form[data-max-bytes]")) {
    const input = form.querySelector("input[type=file]");
    input.addEventListener("change", () => {
      const tooLarge = [...input.files].some((file) => file.size > Number(form.dataset.maxBytes));
      input.setCustomValidity(tooLarge ? form.dataset.tooLarge : "");
      input.reportValidity();
    });
  }
});
