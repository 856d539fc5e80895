import { idleDays, oldDays, unusedDays } from "./access.ts";
import { lateAnchorShare } from "./attestation.ts";
import { criticalShare, lateShare } from "./authorities.ts";
import { doubtMs, warnOffsetMs } from "./before-install.ts";
import { catalogue, type CheckId } from "./catalogue.ts";
import { maxOffsetMs } from "./clock.ts";
import { clockLimitMs, lagLimitMs, lateCrlShare, lenientMs, lateRenewalShare } from "./data-plane.ts";
import { minStaleMs, staleCosignatureMs, staleIntervals, unheardMs, failuresWorthTelling } from "./federation.ts";
import { oldListMs, endingShare, staleListMs, stalePublicationMs } from "./hubs.ts";
import { criticalFreeBytes, lagLimitBytes, lagLimitSeconds, lowFreeBytes, lowShare, slowAnswerMs } from "./store.ts";
import { staleUpstreamMs } from "./upstream.ts";
import { lateWebShare } from "./web-certificate.ts";

/** A check as ca/README.md and `/docs` explain it. */
export interface ExplainedCheck {
  readonly id: CheckId;
  readonly category: string;
  readonly holds: string;
  /** From when on it is told; "" where that needs no words. */
  readonly from: string;
  readonly remedy: string;
}

/** Every check there is. */
export function explainedChecks(): readonly ExplainedCheck[] {
  return (Object.keys(catalogue) as CheckId[]).map((id) => {
    const { category, holds, remedy } = catalogue[id];
    const subject = subjects[id];
    return { id, category, holds: subject === undefined ? holds : `${subject} ${holds}`, from: thresholds[id] ?? "", remedy };
  });
}

/** The rows of the table in ca/README.md, each with an anchor that `linkOf` leads to. */
export function renderCatalogue(): string {
  const rows = explainedChecks().map(({ id, category, holds, from, remedy }) => `| <a id="check-${id}"></a>\`${id}\` | ${category} | ${holds} | ${from} | ${remedy} |\n`);
  return `| check | category | what must hold | from when | what to do |\n| --- | --- | --- | --- | --- |\n${rows.join("")}`;
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;
const mebibytes = (bytes: number): string => (bytes >= 2 ** 30 ? `${bytes / 2 ** 30} GiB` : `${bytes / 2 ** 20} MiB`);
function time(ms: number): string {
  const [unit, unitMs] = ([["d", 86_400_000], ["h", 3_600_000], ["min", 60_000]] as const).find(([, size]) => ms >= 2 * size || ms === size) ?? ["s", 1000];
  return `${ms / unitMs} ${unit}`;
}
const shares = ({ root, intermediate, issuer, jwt }: typeof lateShare | typeof criticalShare): string => (
  `${percent(root)} of a root's life left, ${percent(intermediate)} of an intermediate's, ${percent(issuer)} of an issuer's, ${percent(jwt)} of a JWT key's`
);

/** Of which there are several, each with a line of its own. */
const subjects: Readonly<Partial<Record<CheckId, string>>> = {
  "key-answers": "each authority that signs, or will,", "authority-active": "a root, and an issuer,", "authority-algorithm": "every authority", "authority-valid": "every authority",
  "authority-life": "each active authority", "authority-chain": "what is issued, with each root in force,", "authority-names": "every authority", "upstream-followed": "the CA above",
  "upstream-constrained": "the issuer that the CA above signed", "convergence-trusted": "each prepared authority", "crl-fresh": "each CRL", "attestor-answers": "each attestor",
  "attestor-anchors": "each attestor of another PKI", "federation-fresh": "each other trust domain's bundle", "federation-heard": "each other trust domain's CA", "web-certificate": "the web certificate",
  "hub-read": "each hub's list", "hub-listed": "each hub", "log-cosigned": "each other trust domain's CA", "log-continues": "each checkpoint kept elsewhere",
};

const thresholds: Readonly<Partial<Record<CheckId, string>>> = {
  "store-answers": `‼ from ${time(slowAnswerMs)}`,
  "store-replication": `‼ from ${time(lagLimitSeconds * 1000)} or ${mebibytes(lagLimitBytes)} behind, and for a slot that nobody is connected to`,
  "store-disk": `‼ below ${mebibytes(lowFreeBytes)} and ${percent(lowShare)}, × below ${mebibytes(criticalFreeBytes)}; on Postgres only its size is told`,
  "authority-life": `‼ at ${shares(lateShare)}, and no successor prepared; × at ${shares(criticalShare)}`,
  "upstream-followed": `‼ from ${time(staleUpstreamMs)}`,
  "proxy-life": `‼ when ${percent(lateRenewalShare)} of a certificate's life is over, × at its end`,
  "proxy-clock": `‼ from ${time(clockLimitMs)}`,
  "proxy-mode": `‼ from ${time(lenientMs)}`,
  "revocation-lag": `× from ${time(lagLimitMs)}`,
  "crl-fresh": `‼ at ${percent(lateCrlShare)} of its life left, × at its end`,
  "attestor-anchors": `‼ at ${percent(lateAnchorShare)} of the last one's life left, × at its end`,
  "federation-fresh": `‼ from ${failuresWorthTelling} looks that failed, or ${staleIntervals} intervals (${time(minStaleMs)} at least) without one; × without a bundle, or a root in it`,
  "federation-heard": `‼ from ${time(unheardMs)} after it was added, or behind the newest`,
  "web-certificate": `‼ at ${percent(lateWebShare)} of its life left, × at its end`,
  "hub-read": `‼ from ${time(staleListMs)}, at ${percent(endingShare)} of its validity left, or ${time(oldListMs)} old without an end; × at its end`,
  "hub-published": `‼ from ${time(stalePublicationMs)}`,
  "log-cosigned": `‼ from ${time(staleCosignatureMs)}, × where it contradicts`,
  "token-age": `‼ from ${oldDays} days`,
  "token-scope": "‼ an operator's, for a whole trust domain, without an end",
  "token-used": `‼ from ${unusedDays} days, join tokens too`,
  "operator-scope": "‼ a whole trust domain, or admin below a prefix",
  "operator-used": `‼ from ${idleDays} days`,
  "clock-here": `‼ from ${time(maxOffsetMs)}`,
  "clock-store": `‼ from ${time(maxOffsetMs)}`,
  "pre-clock": `‼ from ${time(warnOffsetMs)}, × from ${time(doubtMs)}`,
};
