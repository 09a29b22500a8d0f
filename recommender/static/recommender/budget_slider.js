/* The slider of a run's budgets: tells what the chosen one would bring, as its row of the table has it. */
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("[data-budget-slider]");
  if (!form) return;
  const slider = form.querySelector("input[type=range]");
  const rows = [...document.querySelectorAll("[data-budget-row]")];

  const show = () => {
    const chosen = rows[Number(slider.value)];
    for (const row of rows) {
      if (row === chosen) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    for (const told of form.querySelectorAll("[data-told]")) {
      told.textContent = chosen.querySelector(`[data-figure="${told.dataset.told}"]`).textContent;
    }
    const [budget, value] = ["budget", "value"].map((name) => chosen.querySelector(`[data-figure="${name}"]`).textContent);
    slider.setAttribute("aria-valuetext", `${budget}: ${value}`);
    form.elements.budget.value = chosen.dataset.budgetRow;
  };

  slider.disabled = false; // without this script it would do nothing
  slider.addEventListener("input", show);
  show(); // a browser that comes back to the page keeps where the slider stood
});
