// Brings the page up to date every two seconds: asks /status for its parts and changes what differs, so that what is open,
// selected or focused stays so. Without it the page is as it was when it was loaded.
"use strict";
(() => {
  const PERIOD = 2000;
  const LIMIT = 5000;
  const byId = (id) => document.getElementById(id);
  const filter = byId("filter");
  const pause = byId("pause");
  const age = byId("age");
  let timer = 0;
  let asked = 0;

  const key = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null);
  const isSame = (one, other) => one.nodeName === other.nodeName && key(one) === key(other);

  // Makes one node what the other is. Whether a <details> is open, and which <option> is chosen, is the reader's.
  const READERS = ["open", "selected"];
  function change(old, wanted) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== wanted.data) old.data = wanted.data;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!READERS.includes(name) && !wanted.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
      if (!READERS.includes(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    changeChildren(old, wanted);
  }

  function changeChildren(parent, wanted) {
    const keyed = new Map();
    for (const child of parent.children) if (key(child) !== null) keyed.set(key(child), child);
    let at = parent.firstChild;
    for (const next of [...wanted.childNodes]) {
      const old = key(next) === null ? at : keyed.get(key(next));
      if (!old || !isSame(old, next)) {
        parent.insertBefore(document.importNode(next, true), at);
        continue;
      }
      if (old === at) at = at.nextSibling;
      else parent.insertBefore(old, at);
      change(old, next);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  const query = () => new URLSearchParams(new FormData(filter)).toString();

  async function update() {
    clearTimeout(timer);
    const number = (asked += 1);
    try {
      const answer = await fetch("/status?view=page&" + query(), { cache: "no-store", signal: AbortSignal.timeout(LIMIT) });
      if (!answer.ok) throw new Error(answer.status);
      const { title, parts } = await answer.json();
      // Only the answer to the newest request is shown.
      if (number === asked) {
        document.title = title;
        for (const [id, html] of Object.entries(parts)) {
          changeChildren(byId(id), new DOMParser().parseFromString(html, "text/html").body);
        }
        say("");
      }
    } catch {
      if (number === asked) say("The agent does not answer: what is shown is old.");
    }
    if (number === asked) again();
  }

  function say(text) {
    age.className = "bad";
    if (age.textContent !== text) age.textContent = text;
  }

  function again() {
    clearTimeout(timer);
    const isPaused = pause.getAttribute("aria-pressed") === "true";
    if (!isPaused && !document.hidden) timer = setTimeout(update, PERIOD);
  }

  let typing = 0;
  function filtered(event) {
    event.preventDefault();
    // What was asked before is about another choice.
    asked += 1;
    clearTimeout(typing);
    typing = setTimeout(() => {
      history.replaceState(null, "", "?" + query());
      update();
    }, 150);
  }
  for (const kind of ["input", "submit"]) filter.addEventListener(kind, filtered);

  byId("explain").addEventListener("submit", async (event) => {
    event.preventDefault();
    const out = byId("explained");
    out.hidden = false;
    out.textContent = "…";
    try {
      const image = new URLSearchParams(new FormData(event.target)).toString();
      const answer = await fetch("/explain?" + image, { cache: "no-store", signal: AbortSignal.timeout(4 * LIMIT) });
      out.textContent = await answer.text();
    } catch {
      out.textContent = "The agent does not answer.";
    }
  });

  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(pause.getAttribute("aria-pressed") !== "true"));
    again();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? again() : update()));
  byId("updates").hidden = false;
  again();
})();
