/* The form of a segment: shows the fields that a condition uses, and who meets the conditions before they are saved. */
document.addEventListener("DOMContentLoaded", () => {
  const button = document.querySelector("[data-segment-preview]");
  if (!button) return;
  const form = button.form;
  const members = form.querySelector("[data-segment-members]");
  const counting = form.querySelector("[data-segment-counting]");
  const stale = form.querySelector("[data-segment-stale]");
  const unreachable = form.querySelector("[data-segment-unreachable]");
  const pauseMilliseconds = 600;
  const slowMilliseconds = 2000; // in a large shop nobody counts at every change

  const sums = ["comparison", "amount", "days"];
  const used = {
    last_order: ["comparison", "days"],
    first_order: ["comparison", "days"],
    joined: ["comparison", "days"],
    orders: sums,
    spend: sums,
    redemptions: sums,
    category: [...sums, "category"],
    attribute: ["comparison", "attribute", "value"],
  };
  const comparisons = { sum: ["at_least", "at_most"], attribute: ["is", "is_not"] };

  const fit = (kind) => {
    const prefix = kind.name.replace(/kind$/, "");
    const shown = used[kind.value] ?? [];
    for (const name of ["comparison", "amount", "days", "category", "attribute", "value"]) {
      const field = form.elements[`${prefix}${name}`];
      const line = field?.closest(`.field-${name}`);
      // What holds a value or an error stays in sight, or nobody could take it out.
      const matters = field?.value && name !== "comparison";
      if (line) line.hidden = !shown.includes(name) && !matters && !line.querySelector(".errorlist");
    }
    const comparison = form.elements[`${prefix}comparison`];
    if (!comparison || !kind.value) return;
    const possible = comparisons[kind.value === "attribute" ? "attribute" : "sum"];
    for (const option of comparison.options) {
      option.hidden = option.disabled = option.value !== "" && !possible.includes(option.value);
    }
    if (comparison.value && !possible.includes(comparison.value)) comparison.value = possible[0];
  };
  const fitAll = () => form.querySelectorAll('select[name^="conditions-"][name$="-kind"]').forEach(fit);

  let latest = 0;
  let isSlow = false;
  const count = async () => {
    const turn = ++latest;
    const began = performance.now();
    stale.hidden = unreachable.hidden = true;
    counting.hidden = false;
    members.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(button.dataset.segmentPreview, {
        method: "POST",
        body: new FormData(form),
        headers: { "X-Fragment": "1" },
      });
      if (turn !== latest) return; // what was asked later is answered by that
      if (answer.redirected || !answer.ok) throw new Error(answer.statusText);
      members.innerHTML = await answer.text();
      isSlow = performance.now() - began > slowMilliseconds;
    } catch {
      if (turn === latest) unreachable.hidden = false;
    }
    if (turn !== latest) return;
    counting.hidden = true;
    members.removeAttribute("aria-busy");
  };

  let timer;
  const changed = (event) => {
    if (event?.target?.name?.endsWith("-kind")) fit(event.target);
    window.clearTimeout(timer);
    stale.hidden = !isSlow;
    if (!isSlow) timer = window.setTimeout(count, pauseMilliseconds);
  };

  button.addEventListener("click", (event) => {
    event.preventDefault();
    window.clearTimeout(timer);
    count();
  });
  form.addEventListener("change", changed);
  document.addEventListener("formset:added", fitAll);
  document.addEventListener("formset:removed", changed);
  fitAll();
  if (/\/change\/$/.test(window.location.pathname)) count();
});
