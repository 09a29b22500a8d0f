// The shopper's page: it speaks for one shopper by a token, and knows neither the shop's key nor its secret.
"use strict";

const at = (id) => document.getElementById(id);
const basket = new Map(); // product id -> how many
const chosen = new Set(); // coupon ids
let token = null;
let shop = null;
let basketId = crypto.randomUUID(); // the same until it is paid, so that a payment sent twice is one

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text; // never HTML: titles and reasons are only text
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function button(text, label, work) {
  const made = element("button", text, { type: "button", "aria-label": label });
  made.addEventListener("click", async () => {
    made.disabled = true;
    try {
      await work();
    } catch (error) {
      say(error.message);
    } finally {
      made.disabled = false;
    }
  });
  return made;
}

const say = (text) => (at("message").textContent = text);
const money = (amount) =>
  new Intl.NumberFormat(navigator.language, { style: "currency", currency: shop.currency }).format(amount);

async function ask(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  return { status: answer.status, body: await answer.json() };
}

// The shopper's own calls. A token that is over is fetched anew, once.
async function own(method, path) {
  for (const again of [true, false]) {
    token ??= (await ask("POST", "/token", {})).body.token;
    const answer = await fetch(`/api/v1/me/${path}`, { method, headers: { Authorization: `Bearer ${token}` } });
    if (answer.status === 401 && again) {
      token = null;
      continue;
    }
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.detail);
    return body;
  }
}

function describe(coupon) {
  const value = Number(coupon.discount_value);
  const what = { percent: `${value} % off`, amount: `${money(value)} off`, free_shipping: "free shipping" };
  return [
    what[coupon.discount_type],
    coupon.min_spend && `from ${money(coupon.min_spend)}`,
    coupon.code && `code ${coupon.code}`,
  ].filter(Boolean).join(", ");
}

async function showCoupons() {
  const listed = await own("GET", "coupons");
  at("personal").textContent = listed.personal ? "Chosen for you." : "What many like.";
  const offered = listed.coupons.map(({ coupon }) => coupon.coupon_id);
  for (const id of chosen) if (!offered.includes(id)) chosen.delete(id);
  at("coupons").replaceChildren(...listed.coupons.map(({ coupon, reasons }) => {
    const title = coupon.title || coupon.coupon_id;
    const card = element("li", "", { "data-coupon": coupon.coupon_id });
    const why = element("ul");
    why.append(...reasons.map((reason) => element("li", reason.text)));
    const use = element("label", "", { class: "choice" });
    const box = element("input", "", { type: "checkbox" });
    box.checked = chosen.has(coupon.coupon_id);
    box.addEventListener("change", () => (box.checked ? chosen.add(coupon.coupon_id) : chosen.delete(coupon.coupon_id)));
    use.append(box, ` Use ${title}`);
    const actions = element("div", "", { class: "actions" });
    const act = (verb, done) => async () => {
      await own("POST", `coupons/${encodeURIComponent(coupon.coupon_id)}/${verb}`);
      await refresh();
      say(`${title}: ${done}`);
    };
    actions.append(
      button("Keep", `Keep ${title}`, act("claim", "kept for you.")),
      button("Not for me", `Dismiss ${title}`, act("dismiss", "you will not see it for a while.")),
    );
    card.append(element("h3", title), element("p", describe(coupon)), why);
    if (coupon.discount_type) card.append(use); // one that does not say what it takes off is only shown
    card.append(actions);
    return card;
  }));
  if (!listed.coupons.length) at("coupons").append(element("li", "There is none now."));
}

async function showHistory() {
  const { entries } = await own("GET", "history");
  const words = { used: "Used", claimed: "Kept", dismissed: "Dismissed" };
  at("history").replaceChildren(...entries.map((entry) => {
    const amount = entry.discount_amount === null ? "" : `, ${money(entry.discount_amount)} saved`;
    const moment = new Date(entry.at).toLocaleString(navigator.language);
    return element("li", `${words[entry.did]}: ${entry.title || entry.coupon_id}${amount} (${moment})`);
  }));
  if (!entries.length) at("history").append(element("li", "Nothing yet."));
}

const refresh = () => Promise.all([showCoupons(), showHistory()]);

function showBasket() {
  const change = (id, by) => () => {
    basket.set(id, Math.max(0, (basket.get(id) ?? 0) + by));
    at("quote").replaceChildren();
    showBasket();
  };
  at("products").replaceChildren(...shop.products.map((product) => {
    const card = element("li", "", { "data-product": product.product_id });
    card.append(
      element("h3", product.name),
      element("p", money(product.price)),
      button("Put in the basket", `Put ${product.name} in the basket`, change(product.product_id, 1)),
    );
    return card;
  }));
  const there = shop.products.filter((product) => basket.get(product.product_id));
  at("basket").replaceChildren(...there.map((product) => {
    const line = element("li", `${basket.get(product.product_id)} × ${product.name} `);
    line.append(button("Take one out", `Take one ${product.name} out`, change(product.product_id, -1)));
    return line;
  }));
  if (!there.length) at("basket").append(element("li", "It is empty."));
}

function asked() {
  const code = at("code").value.trim();
  return {
    basket_id: basketId,
    quantities: Object.fromEntries([...basket].filter(([, quantity]) => quantity)),
    coupon_ids: [...chosen],
    codes: code ? [code] : [],
    payment_fails: at("fails").checked,
  };
}

// Why something was not done: of each coupon, where there are several, else the problem's own words.
function reasons(problem) {
  const told = Object.entries(problem.errors ?? {}).map(([asked, texts]) => `${asked}: ${texts.join(" ")}`);
  return told.length ? told.join(" ") : problem.detail;
}

async function check() {
  const posted = asked();
  if (!posted.coupon_ids.length && !posted.codes.length) return say("Choose a coupon or type a code.");
  const { status, body } = await ask("POST", "/validate", posted);
  if (status !== 200) return say(reasons(body));
  const list = element("ul");
  list.append(
    ...body.coupons.map((coupon) => element("li", `${coupon.coupon_id}: ${money(coupon.discount)} off`)),
    ...body.refused.map((refused) => element("li", `${refused.asked}: ${refused.text}`)),
  );
  at("quote").replaceChildren(list);
  say(`You would save ${money(body.discount)}.`);
}

async function pay() {
  const { status, body } = await ask("POST", "/pay", asked());
  basketId = crypto.randomUUID();
  at("quote").replaceChildren();
  if (status !== 200) return say(reasons(body));
  basket.clear();
  chosen.clear();
  at("code").value = "";
  showBasket();
  await refresh();
  say(`Paid. You saved ${money(body.discount)}.`);
}

async function start() {
  shop = (await ask("GET", "/products")).body;
  at("name").textContent = document.title = shop.name || "Example shop";
  at("check").replaceWith(Object.assign(button("What would it cost?", "What would it cost?", check), { id: "check" }));
  at("checkout").addEventListener("submit", (event) => {
    event.preventDefault();
    pay().catch((error) => say(error.message));
  });
  showBasket();
  await refresh();
}

start().catch((error) => say(error.message));
