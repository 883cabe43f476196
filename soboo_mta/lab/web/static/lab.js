// Follows what arrives, and asks before all is deleted. The page works without it.
"use strict";

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

const live = document.querySelector("[data-live]");
if (live) {
  let isLoading = false;
  let isStale = false;
  const status = document.querySelector("[role=status]");

  const refresh = async () => {
    if (isLoading) {
      isStale = true;
      return;
    }
    isLoading = true;
    try {
      const answer = await fetch(location.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      if (fresh) replace(fresh, page.title);
    } catch {
      // The lab ended: the stream says so too, and tries again.
    } finally {
      isLoading = false;
    }
    if (isStale) {
      isStale = false;
      refresh();
    }
  };

  const replace = (fresh, title) => {
    const focused = live.contains(document.activeElement) ? document.activeElement : null;
    const id = focused?.id;
    live.replaceChildren(...fresh.children);
    live.dataset.live = fresh.dataset.live;
    status.textContent = live.querySelector("h1").textContent;
    document.title = title;
    if (id) document.getElementById(id)?.focus({ preventScroll: true });
  };

  new EventSource("/api/events").addEventListener("change", (event) => {
    if (String(JSON.parse(event.data).changes) !== live.dataset.live) refresh();
  });
}
