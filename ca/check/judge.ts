import { judgeAccess } from "./access.ts";
import { judgeAcme } from "./acme.ts";
import { judgeApi, judgeConfig } from "./api.ts";
import { judgeAttestors } from "./attestation.ts";
import { judgeLog } from "./audit-log.ts";
import { judgeAuthorities, judgeConvergence } from "./authorities.ts";
import { judgeClock } from "./clock.ts";
import { judgeDataPlane, judgeRevocation } from "./data-plane.ts";
import type { CheckFacts } from "./facts.ts";
import { judgeFederation } from "./federation.ts";
import type { Finding } from "./finding.ts";
import { judgeHubs } from "./hubs.ts";
import { judgeKeys } from "./keys.ts";
import { judgeReplicas } from "./replicas.ts";
import { judgeStore } from "./store.ts";
import { judgeUpstream } from "./upstream.ts";
import { judgeWebCertificate } from "./web-certificate.ts";

/** Judges. Pure: what was gathered decides. A part of the CA more is one function here, its facts and its rows in the catalogue. */
export function judge(facts: CheckFacts): readonly Finding[] {
  return judges.flatMap((each) => each(facts));
}

const judges: readonly ((facts: CheckFacts) => readonly Finding[])[] = [
  judgeApi, judgeReplicas, judgeConfig, judgeStore, judgeKeys, judgeAuthorities, judgeUpstream, judgeConvergence, judgeDataPlane, judgeRevocation, judgeAttestors, judgeAcme, judgeFederation, judgeWebCertificate, judgeHubs, judgeLog, judgeAccess, judgeClock,
];
