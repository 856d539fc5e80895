/** What the platform should give is not there. The message names the place and holds nothing of what is in it. */
export class EvidenceError extends Error {
  override readonly name = "EvidenceError";
}
