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
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const [alike, index] = focused === null ? [() => [], 0] : [() => likesOf(part, focused), likesOf(part, focused).indexOf(focused)];
    const scrolled = Array.from(part.querySelectorAll(".scroll"), (one) => one.scrollLeft);
    part.replaceChildren(...document.importNode(next, true).childNodes);
    part.querySelectorAll(".scroll").forEach((one, place) => { one.scrollLeft = scrolled[place] ?? 0; });
    alike()[index]?.focus({ preventScroll: true });
  }
}

/* Whatever somebody who stood at one of them would take for it. */
function likesOf(part, { id, tagName, href }) {
  const to = (link) => link?.baseVal ?? link;
  return Array.from(part.querySelectorAll(tagName)).filter((one) => one.id === id && to(one.href) === to(href));
}

/* Where the navigation is wider than the screen. Not scrollIntoView: the first Tab would go on from there, past the link to the content. */
const current = document.querySelector("nav [aria-current]");
if (current !== null) {
  const list = current.closest("ul");
  list.scrollLeft = current.offsetLeft - list.offsetLeft - (list.clientWidth - current.offsetWidth) / 2;
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

const proofPlace = document.getElementById("proof");
if (proofPlace !== null) prove(JSON.parse(proofPlace.dataset.proof)).then((steps) => showProof(proofPlace, steps, undefined), (error) => showProof(proofPlace, error.steps ?? [], error));

function showProof(place, steps, error) {
  const list = document.createElement("ol");
  for (const step of steps) list.appendChild(document.createElement("li")).textContent = step;
  const verdict = document.createElement("p");
  verdict.className = "chip " + (error === undefined ? "ok" : "failed");
  verdict.id = "proof-verdict";
  verdict.textContent = error === undefined ? "√ Proved in this browser" : "× Not proved: " + error.message;
  place.replaceChildren(verdict, list);
}

/* RFC 6962 2.1 and C2SP signed-note, from what the page gave: nothing that the CA says of itself is believed. */
async function prove({ index, size, body, hashes, note, key }) {
  const steps = [];
  const fail = (message) => { throw Object.assign(new Error(message), { steps }); };
  const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer()));
  const hex = (octets) => Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");

  let hash = await sha256(Uint8Array.of(0), body);
  steps.push("The hash of the entry's bytes is " + hex(hash).slice(0, 16) + "….");
  let [position, last] = [index, size - 1];
  for (const sibling of hashes.map(bytes)) {
    if (last === 0) fail("the proof has too many hashes");
    if (position % 2 === 1 || position === last) {
      hash = await sha256(Uint8Array.of(1), sibling, hash);
      while (position % 2 === 0 && position !== 0) [position, last] = [position / 2, Math.floor(last / 2)];
    } else hash = await sha256(Uint8Array.of(1), hash, sibling);
    [position, last] = [Math.floor(position / 2), Math.floor(last / 2)];
  }
  if (last !== 0) fail("the proof has too few hashes");
  const end = note.lastIndexOf("\\n\\n");
  const text = note.slice(0, end + 1);
  const [origin, signedSize, root] = text.split("\\n");
  if (Number(signedSize) !== size || hex(bytes(root)) !== hex(hash)) fail("the hashes do not lead to the root that the CA has signed");
  steps.push(hashes.length + " hashes lead from it to the root " + hex(hash).slice(0, 16) + "… over " + size + " entries.");

  const [, name, keyId, encoded] = /^([^+]+)\\+([0-9a-f]{8})\\+(.+)$/.exec(key) ?? fail("the log's key is not known");
  const raw = bytes(encoded);
  if (raw[0] !== 1) fail("the log's key is not of a kind that this page knows");
  const publicKey = await crypto.subtle.importKey("raw", raw.slice(1), "Ed25519", false, ["verify"]);
  const line = note.slice(end + 2).split("\\n").find((candidate) => candidate.startsWith("\u2014 " + name + " "));
  if (name !== origin || line === undefined) fail("the checkpoint is not signed by the log's key");
  const signature = bytes(line.slice(line.lastIndexOf(" ") + 1));
  if (hex(signature.slice(0, 4)) !== keyId) fail("the checkpoint is signed by another key");
  if (!(await crypto.subtle.verify("Ed25519", publicKey, signature.slice(4), new TextEncoder().encode(text)))) fail("the checkpoint's signature is wrong");
  steps.push("The log's key has signed that root.");

  const known = localStorage.getItem("log-key");
  if (known === null) localStorage.setItem("log-key", key);
  else if (known !== key) fail("the log's key is another one than this browser saw before");
  steps.push(known === null ? "This browser remembers the key from now on." : "It is the key that this browser saw before.");
  return steps;
}
`;
