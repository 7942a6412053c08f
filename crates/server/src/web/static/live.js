// Keeps the parts of a page that have data-live as they would be if the page were loaded anew. The server says what kinds of
// things changed, and the page is fetched once more. Without this, or in a tab that nobody sees, nothing of it happens.
const sign = document.getElementById("live");
const PAUSE = 3000;
const AGAIN = 60000;

// What somebody does in a part is not taken away.
const inUse = (part) => {
  const selection = getSelection();
  return (
    part.querySelector("tbody input:checked, .acts-on input:checked, .menu[open], dialog[open]") ||
    document.activeElement?.matches("input:not([type=checkbox], [type=radio]), select, textarea") && part.contains(document.activeElement) ||
    (!selection.isCollapsed && part.contains(selection.anchorNode))
  );
};

const STOPS = "a[href], button, summary, input, [tabindex]";
const same = (one, other) => one?.textContent === other.textContent && one.value === other.value;

// Puts the new part in the old one's place, with what is open, scrolled and focused there. Says whether it could.
const swap = (part, next) => {
  const at = [...part.querySelectorAll(STOPS)].indexOf(document.activeElement);
  const focused = at < 0 ? null : next.querySelectorAll(STOPS)[at];
  if (inUse(part) || (at >= 0 && !same(focused, document.activeElement))) return false;
  const pairs = (selector) => {
    const old = part.querySelectorAll(selector);
    return [...next.querySelectorAll(selector)].map((one, index) => [one, old[index]]).filter(([, before]) => before);
  };
  const scrolled = pairs(".scroll, pre").map(([one, before]) => [one, before.scrollLeft]);
  for (const [one, before] of pairs("details")) one.open = before.open;
  for (const [one, before] of pairs(".lines > input")) one.checked = before.checked;
  part.replaceWith(next);
  for (const [one, left] of scrolled) one.scrollLeft = left;
  focused?.focus({ preventScroll: true });
  return true;
};

const start = () => {
  const parts = () => document.querySelectorAll("[data-live][id]");
  const known = new Map([...parts()].map((part) => [part.id, part.outerHTML]));
  let stream, waiting, last = 0, late = false;

  const refresh = async () => {
    waiting = undefined;
    last = Date.now();
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { "Muster-Refresh": "1" } }).catch(() => undefined);
    // The session has ended: the page says so better.
    if (answer?.redirected) return location.reload();
    if (!answer?.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    late = false;
    for (const part of parts()) {
      const next = page.getElementById(part.id);
      const text = next?.outerHTML;
      if (!text || text === known.get(part.id)) continue;
      if (swap(part, document.adoptNode(next))) known.set(part.id, text);
      else late = true;
    }
  };
  const soon = () => {
    waiting ??= setTimeout(refresh, Math.max(0, last + PAUSE - Date.now()));
  };
  // What was put off is done once nothing is in its way.
  for (const kind of ["change", "focusout", "toggle"]) {
    document.addEventListener(kind, () => { if (late) soon(); }, true);
  }
  const heard = (event) => {
    const words = new Set(event.data.split(" "));
    const touched = (part) => part.dataset.live.split(" ").some((word) => word === "all" || words.has(word));
    if (words.has("all") || [...parts()].some(touched)) soon();
  };
  // One stream for each tab that somebody sees: over HTTP/1.1 a browser has few connections for all of them.
  const listen = () => {
    stream = new EventSource(sign.dataset.from);
    stream.onopen = () => { sign.hidden = false; };
    stream.onmessage = heard;
    stream.onerror = () => {
      sign.hidden = true;
      if (stream.readyState === EventSource.CLOSED) soon();
    };
  };
  document.addEventListener("visibilitychange", () => {
    stream.close();
    sign.hidden = true;
    if (document.hidden) return;
    listen();
    soon();
  });
  addEventListener("pagehide", () => stream.close());
  // What is left of a time changes by itself.
  setInterval(() => {
    if (document.hidden) return;
    if (stream.readyState === EventSource.CLOSED) listen();
    soon();
  }, AGAIN);
  if (document.hidden) stream = { close() {}, readyState: EventSource.CLOSED };
  else listen();
};

if (sign && document.querySelector("[data-live][id]")) start();
