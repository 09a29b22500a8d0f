/* What a click does, a key does too. Unfold gives a click to elements that no key reaches, such as "Filters", the
   button of the sidebar and the menu of whoever is signed in. They become buttons here; what one opens is gone into at
   once, and Escape leads back. The names of icons are not read out, but what they mean. */
(() => {
  const reachable = "a[href], button, input, select, textarea, summary, label";
  const clickable = "[x-on\\:click], [\\@click]";
  const opening = "nav, #changelist-filter";
  const icon = ".material-symbols-outlined";
  let way = null; // what was opened by a key, and from where

  const isShown = (element) => element.checkVisibility({ visibilityProperty: true });
  const shown = (selector) => [...document.querySelectorAll(selector)].filter(isShown);
  const wordsOf = (element) => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll(icon).forEach((drawn) => drawn.remove());
    return copy.matches(icon) ? "" : copy.textContent.trim();
  };

  const dress = () => {
    const names = document.querySelector("[data-icon-names]")?.dataset ?? {};
    for (const drawn of document.querySelectorAll(`${icon}:not([data-dressed])`)) {
      drawn.dataset.dressed = "";
      const control = drawn.closest(`${reachable}, ${clickable}`);
      const name = names[drawn.textContent.trim().replaceAll("_", "-").replace(/-(.)/g, (_, letter) => letter.toUpperCase())];
      const isNamed = !control || control.title || control.ariaLabel || wordsOf(control);
      if (!isNamed && name) control.ariaLabel = name;
      if ((isNamed || name) && drawn !== control) drawn.ariaHidden = "true";
    }
    for (const element of document.querySelectorAll(clickable)) {
      if (element.matches(`${reachable}, [tabindex]`) || !element.textContent.trim()) continue;
      element.tabIndex = 0;
      element.role = "button";
    }
  };

  const goInto = (opener, before) => {
    const opened = shown(opening).find((place) => !before.has(place));
    const first = opened && [...opened.querySelectorAll(`${reachable}, [tabindex="0"]`)].find(isShown);
    if (!first) return;
    first.focus();
    way = { opener, opened };
  };

  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (key === "Escape" && way) {
      const { opener, opened } = way;
      way = null;
      if (isShown(opened) && opened.matches("nav")) opener.click();
      if (isShown(opener)) opener.focus();
    }
    if (key !== "Enter" && key !== " ") return;
    if (target.matches?.(`${clickable}, a[href="#"]`)) {
      const before = new Set(shown(opening));
      if (!target.matches(reachable)) {
        event.preventDefault();
        target.click();
      }
      window.setTimeout(() => goInto(target, before), 200); // what opens may do so slowly
    }
  });

  new MutationObserver(dress).observe(document.documentElement, { childList: true, subtree: true });
  document.addEventListener("DOMContentLoaded", dress);
})();
