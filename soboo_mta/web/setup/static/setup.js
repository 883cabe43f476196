// Copies values by a click, and follows what is seen in DNS. The page works without it.
"use strict";

const EVERY = 5000; // ms between looks at the page

function arm() {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      const before = button.firstChild.data;
      button.firstChild.data = "Copied";
      setTimeout(() => { button.firstChild.data = before; }, 1500);
    });
  }
}

let shown = "";

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
  const focused = document.activeElement.dataset?.copy;
  document.getElementById("main").replaceChildren(...fresh.childNodes);
  arm();
  if (focused) {
    document.querySelector(`button[data-copy="${CSS.escape(focused)}"]`)?.focus();
  }
}

async function follow() {
  if (document.querySelector(".state") && !document.hidden) {
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      const text = await answer.text();
      if (shown && text !== shown) show(text);
      shown = text;
    } catch { /* the server is away for a moment: the next look tells */ }
  }
  setTimeout(follow, EVERY);
}

arm();
setTimeout(follow, EVERY);
