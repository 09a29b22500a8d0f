/* A form that is under way is not sent again by a second click. The site would do the thing once all the same; this
   spares the reader a second answer. After a while a click counts again: the first may have been lost on the way. */
const patienceMilliseconds = 5000;
const sentAt = new WeakMap();

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  const now = Date.now();
  if (now - (sentAt.get(form) ?? -patienceMilliseconds) < patienceMilliseconds) {
    event.preventDefault();
  } else {
    sentAt.set(form, now);
    if ("renewToken" in form.dataset) renewToken(form);
  }
});

/* Whoever signed in again in another window has another token since; a form that waited for it takes that one. */
function renewToken(form) {
  const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  if (token) form.elements.csrfmiddlewaretoken.value = token[1];
}

window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.forms) sentAt.delete(form); // a page from the browser's memory may be sent anew
});
