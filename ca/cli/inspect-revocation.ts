import type { CertificateDetail } from "../contract/certificates.ts";
import { paths } from "../contract/paths.ts";
import type { Verdict } from "../inspect/judge.ts";
import type { Certificate } from "../pki/certificate.ts";
import { api, ApiError, type ApiFlags } from "./api.ts";
import type { CliIo } from "./io.ts";
import { minute } from "./table.ts";

/** What no certificate shows of itself: whether our CA has revoked it. A CA that cannot say is a warning. */
export async function revocationVerdicts({ serialNumber }: Certificate, flags: ApiFlags, io: CliIo): Promise<readonly Verdict[]> {
  try {
    const { status, revokedAt, revocationReason } = await api(flags, io).call<CertificateDetail>("GET", `${paths.certificates}/${serialNumber}`);
    if (status !== "revoked") return [];
    return [{ status: "failed", text: `but it is revoked, since ${minute(revokedAt)} (${revocationReason}): proxies refuse it (certificate_revoked)`, advice: "give the workload another join token, if it is to come back" }];
  } catch (cause) {
    if (!(cause instanceof ApiError)) throw cause;
    return [{ status: "warning", text: `whether it is revoked is not known: ${cause.message}` }];
  }
}
