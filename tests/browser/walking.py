"""A walk through a page by the Tab key: what it does not reach, and where one cannot see that one is there."""

from typing import Any

#: Keys that are pressed before it is looked whether the walk is over.
STRIDE = 15
#: More than any page has.
MOST = 1500

PREPARE = """
() => {
  const style = document.createElement("style");
  style.textContent = "*, *::before, *::after { transition: none !important; }";
  document.head.append(style);
  const describe = (element) => {
    const name = element.ariaLabel || element.title || element.name || element.textContent.trim().slice(0, 40);
    return `${element.tagName.toLowerCase()}${element.id && "#" + element.id} "${name}"`;
  };
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length;
  const marks = (element) => {
    const style = getComputedStyle(element);
    return [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow].join();
  };
  const walk = (window.walk = { isOver: false, reached: [], faults: [] });
  document.addEventListener("focusin", ({ target }) => {
    if (walk.reached.length && (target === walk.reached[0] || target.matches(".desk-skip"))) walk.isOver = true;
    if (walk.isOver) return;
    const last = walk.reached.at(-1);
    walk.reached.push(target);
    if (!isShown(target)) walk.faults.push(`nobody sees ${describe(target)}`);
    const { outlineStyle, outlineWidth } = getComputedStyle(target);
    if (outlineStyle === "none" || parseFloat(outlineWidth) < 2) walk.faults.push(`no mark on ${describe(target)}`);
    if (last && !(last.compareDocumentPosition(target) & Node.DOCUMENT_POSITION_FOLLOWING)) {
      walk.faults.push(`from ${describe(last)} back to ${describe(target)}`);
    }
  });
  walk.end = (from) => {
    const wanted = [...from.querySelectorAll(
      "a[href], button, input, select, textarea, summary, [role=button], [tabindex], [onclick], "
      + "[x-on\\\\:click], [\\\\@click]"
    )].filter((element) =>
      isShown(element)
      && !element.disabled
      && !element.matches("label, .select2-hidden-accessible, [type=hidden]")
      && (element.type !== "radio" || element.checked) // the arrows lead to the others
      && !(element.tagName === "DIV" && !element.textContent.trim())
    );
    const missed = wanted.filter((element) => !walk.reached.includes(element));
    return [...walk.faults, ...missed.map((element) => `not reached: ${describe(element)}`)];
  };
}
"""


def walk(page: Any, *, past_the_sidebar: bool = True) -> list[str]:
    """What is wrong with the way of the Tab key through a page; past the sidebar where there is one."""
    page.evaluate(PREPARE)
    start = "main" if past_the_sidebar and page.locator("#main").count() else ""
    if start:
        page.focus(".desk-skip")
        page.keyboard.press("Enter")
        page.evaluate("window.walk.reached.pop(); window.walk.isOver = false")
    for _pressed in range(0, MOST, STRIDE):
        for _press in range(STRIDE):
            page.keyboard.press("Tab")
        if page.evaluate("window.walk.isOver || document.activeElement === document.body"):
            break
    else:
        return ["the Tab key never comes to an end"]
    return list(page.evaluate(f"window.walk.end(document.getElementById('{start}') ?? document.body)"))
