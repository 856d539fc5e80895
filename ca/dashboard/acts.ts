import type { RecordedEvent } from "../audit/event.ts";

/** An entry of the audit log as a sentence; who did it stands elsewhere. */
export function describeAct(event: RecordedEvent): string {
  switch (event.type) {
    case "certificate.issued": return `issued ${event.spiffeId} a certificate by ${event.attestation}${event.renewedFrom === undefined ? "" : ", a renewal"}`;
    case "certificate.denied": return `denied a certificate${event.spiffeId === undefined ? "" : ` for ${event.spiffeId}`}: ${event.code}`;
    case "certificate.revoked": return `revoked a certificate of ${event.spiffeId}: ${event.reason}`;
    case "request.denied": return `denied ${event.method} ${event.path}: ${event.code}`;
    case "jwt-svid.issued": return `issued ${event.spiffeId} a JWT-SVID for ${event.audience.join(", ")}`;
    case "token.created": return `made ${event.tokenType === "api" ? "an API" : "a join"} token${event.name === undefined ? "" : ` named ${event.name}`}${event.role === undefined ? "" : ` with the role ${event.role}`}${event.spiffeId === undefined ? "" : ` for ${event.spiffeId}`}`;
    case "token.deleted": return `deleted the token ${event.tokenId}`;
    case "authority.created": return `made the ${event.authorityType} ${event.authorityId.slice(0, 12)}`;
    case "authority.state-changed": return `changed the authority ${event.authorityId.slice(0, 12)} from ${event.from} to ${event.to}${event.forced === true ? ", forced" : ""}`;
    case "authority.revoked": return `revoked the authority ${event.authorityId.slice(0, 12)}: ${event.reason}`;
    case "upstream.revoked": return `took over from ${event.trustDomain} that the CA with the serial number ${event.serialNumber.slice(0, 12)} is revoked: ${event.reason}`;
    case "session.started": return `signed in to the dashboard as ${event.role}`;
    case "crl.signed": return `signed CRL ${event.number} of ${event.authorityId.slice(0, 12)} (${event.list})`;
    case "ca.initialized": return `began the CA of ${event.trustDomain}`;
    case "tap.started": return `looked at live requests of ${event.workload}`;
    default: {
      const [, kind, change] = /^(.+)\.(changed|removed)$/.exec(event.type) ?? [];
      if (kind !== undefined && "name" in event) return `${change} the ${kind} ${String(event.name)}`;
      const subject = "name" in event && typeof event.name === "string" ? ` ${event.name}` : "";
      return `${event.type.replace(/[.-]/g, " ")}${subject}`;
    }
  }
}
