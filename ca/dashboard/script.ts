/**
 * What runs in the browser; every page does its work without it. It keeps the page fresh: the stream says that something changed, the
 * page is fetched again, and of its live parts those that differ are put in place of the old ones, unless somebody is busy in them.
 */
export const dashboardScript = `
const say = (text) => { const place = document.getElementById("live"); if (place && place.textContent !== text) place.textContent = text; };

/* As a document: nothing in it runs. */
function fetchPage(url) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.timeout = 15000;
    request.onload = () => resolve(request.status === 200 && new URL(request.responseURL).pathname === new URL(url).pathname ? request.response : undefined);
    request.onerror = request.ontimeout = () => resolve(undefined);
    request.send();
  });
}

function isBusy(part) {
  const chosen = document.getSelection();
  return part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")
    || (chosen !== null && !chosen.isCollapsed && part.contains(chosen.anchorNode));
}

function refreshParts(fetched) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const next = fetched.getElementById(part.id);
    if (next === null || isBusy(part)) continue;
    for (const open of part.querySelectorAll("details[open][id]")) next.querySelector("#" + CSS.escape(open.id))?.setAttribute("open", "");
    if (part.isEqualNode(next)) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    part.replaceChildren(...document.importNode(next, true).childNodes);
    if (focused !== "") document.getElementById(focused)?.focus();
  }
}

let fetching = false;
let again = false;
async function refresh() {
  if (document.hidden) { again = true; return; }
  if (fetching) { again = true; return; }
  fetching = true;
  again = false;
  const page = await fetchPage(location.href);
  if (page === undefined) say("This page could not be brought up to date; reload it.");
  else refreshParts(page);
  setTimeout(() => { fetching = false; if (again) refresh(); }, 1000);
}

if (document.body.dataset.live !== undefined && document.querySelector("[data-part]") !== null) {
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) refresh(); });
  const stream = new EventSource(document.body.dataset.live);
  stream.addEventListener("open", () => say("Live"));
  stream.addEventListener("changed", refresh);
  stream.addEventListener("error", () => say("Not live: the connection to the CA was lost; it is tried again."));
}
`;
