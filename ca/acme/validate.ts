import { createHash, X509Certificate } from "node:crypto";
import { lookup, Resolver } from "node:dns/promises";
import { request } from "node:http";
import { BlockList, isIP } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "node:tls";
import type { AcmeConfig } from "../config/acme.ts";
import { encodeBoolean, encodeOctetString, encodeOid, encodeSequence } from "../pki/der-encoding.ts";
import { turns } from "../turns.ts";
import { AcmeError } from "./error.ts";
import type { Challenge } from "./records.ts";

export type Validate = (type: Challenge["type"], name: string, token: string, keyAuthorization: string) => Promise<void>;

/**
 * Looks whether who asks controls a name: by what its web server, its DNS or its TLS server says. Nothing that is fetched is shown to anybody, redirections are not
 * followed, and addresses that are not public are asked only where the operator has said so.
 * @param bySystem  finds addresses where no resolver is set
 * @throws {AcmeError} connection | dns | incorrectResponse | tls
 * @source RFC 8555 sections 8.3, 8.4 and 10.4; RFC 8737
 */
export function challengeValidator({ resolver, reach, httpPort, tlsPort }: Pick<AcmeConfig, "resolver" | "reach" | "httpPort" | "tlsPort">, bySystem: typeof lookup = lookup): Validate {
  // The system's has two threads for the whole process, for as long as a DNS server of somebody's does not answer: one is left to the database's name and KMS's.
  const lookups = turns({ atOnce: 1, waiting: maxLookupsWaiting });
  const permitted = blockListOf(reach);
  const dns = new Resolver({ timeout: attemptTimeoutMs, tries: 1 });
  if (resolver !== undefined) dns.setServers([resolver]);

  async function addressOf(name: string): Promise<string> {
    const found = resolver === undefined
      ? (await lookups.run(() => bySystem(name, { all: true }).catch(unresolved), () => new AcmeError("dns", `There is no address of ${name} yet: ${maxLookupsWaiting} names are being looked up before it.`))).map(({ address }) => address)
      : [...(await dns.resolve4(name).catch(unresolved)), ...(await dns.resolve6(name).catch(unresolved))];
    const [first] = found;
    if (first === undefined) throw new AcmeError("dns", `There is no address of ${name}.`);
    const address = found.find((one) => isReachable(one, permitted));
    if (address === undefined) throw new AcmeError("dns", `${name} leads to ${first}, which this CA does not ask; its operator can set "reach".`);
    return address;
  }

  async function byHttp(name: string, token: string, keyAuthorization: string): Promise<void> {
    const { status, text } = await get(await addressOf(name), httpPort, `/.well-known/acme-challenge/${token}`, name);
    if (status !== 200) throw new AcmeError("incorrectResponse", `http://${name}/.well-known/acme-challenge/${token} answered ${status}.`);
    if (text.trimEnd() !== keyAuthorization) throw new AcmeError("incorrectResponse", `http://${name}/.well-known/acme-challenge/${token} has something else than the key authorization.`);
  }

  async function byDns(name: string, keyAuthorization: string): Promise<void> {
    const wanted = createHash("sha256").update(keyAuthorization).digest("base64url");
    const records = await dns.resolveTxt(`_acme-challenge.${name}`).catch((cause: NodeJS.ErrnoException) => {
      throw new AcmeError("dns", `There is no TXT record at _acme-challenge.${name} (${cause.code}).`, { cause });
    });
    if (!records.some((parts) => parts.join("") === wanted)) throw new AcmeError("incorrectResponse", `No TXT record at _acme-challenge.${name} is that of the key authorization.`);
  }

  async function byTls(name: string, keyAuthorization: string): Promise<void> {
    const certificate = await presentedBy(await addressOf(name), tlsPort, name);
    const proof = encodeSequence(encodeOid(acmeIdentifierOid), encodeBoolean(true), encodeOctetString(encodeOctetString(createHash("sha256").update(keyAuthorization).digest())));
    if (certificate.subjectAltName?.toLowerCase() !== `dns:${name}` || !certificate.raw.includes(proof)) throw new AcmeError("incorrectResponse", `The certificate that ${name} shows for acme-tls/1 is not that of the key authorization.`);
  }

  return async (type, name, token, keyAuthorization) => {
    for (let attempt = 1; ; attempt++) {
      try {
        if (type === "http-01") return await byHttp(name, token, keyAuthorization);
        return await (type === "dns-01" ? byDns(name, keyAuthorization) : byTls(name, keyAuthorization));
      } catch (error) {
        if (attempt === maxAttempts || !(error instanceof AcmeError)) throw error;
        await delay(betweenAttemptsMs);
      }
    }
  };
}

/** Public, or in what the operator has named. */
export function isReachable(address: string, permitted: BlockList): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  const family = isIP(mapped) === 6 ? "ipv6" : "ipv4";
  return isIP(mapped) !== 0 && (permitted.check(mapped, family) || !special[family].check(mapped, family));
}

/** Reads ranges in CIDR notation, which were checked before. */
export function blockListOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", prefix = ""] = range.split("/");
    list.addSubnet(address, Number(prefix), isIP(address) === 6 ? "ipv6" : "ipv4");
  }
  return list;
}

function get(host: string, port: number, path: string, name: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const fail = ({ message }: Error): void => reject(new AcmeError("connection", `${name} does not answer on port ${port}: ${message}.`));
    request({ host, port, path, agent: false, headers: { host: name, "user-agent": "countersign-acme", accept: "*/*" }, signal: AbortSignal.timeout(attemptTimeoutMs) }, (response) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      response.on("data", (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes > maxAnswerBytes) response.destroy(new Error("its answer is too long"));
        else chunks.push(chunk);
      });
      response.on("error", fail).on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }));
    }).on("error", fail).end();
  });
}

function presentedBy(host: string, port: number, name: string): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    // The certificate is made for this and signed by itself: what it says is all there is to verify.
    const socket = connect({ host, port, servername: name, ALPNProtocols: ["acme-tls/1"], rejectUnauthorized: false, timeout: attemptTimeoutMs });
    const fail = (why: string): void => {
      socket.destroy();
      reject(new AcmeError("tls", `${name} does not answer for acme-tls/1 on port ${port}: ${why}.`));
    };
    const deadline = setTimeout(() => fail("it takes too long"), attemptTimeoutMs);
    socket.once("close", () => clearTimeout(deadline)).on("error", ({ message }) => fail(message));
    socket.once("secureConnect", () => {
      const certificate = socket.getPeerX509Certificate();
      if (socket.alpnProtocol !== "acme-tls/1" || certificate === undefined) return fail("it does not know that protocol");
      resolve(certificate);
      socket.destroy();
    });
  });
}

function unresolved(): [] {
  return [];
}

/**
 * Of IPv6 all but global unicast (2000::/3), since what translates to IPv4 or is a site's own lies there, and what is special within it.
 * @source IANA IPv4 and IPv6 Special-Purpose Address Registries, IPv6 Address Space
 */
const special = {
  ipv4: blockListOf([
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
  ]),
  ipv6: blockListOf(["::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1"]),
};
const acmeIdentifierOid = "1.3.6.1.5.5.7.1.31";
/** Each waits for some milliseconds where DNS answers. */
const maxLookupsWaiting = 64;
const attemptTimeoutMs = 4000;
const maxAttempts = 3;
const betweenAttemptsMs = 250;
/** A key authorization has some 90 characters. */
const maxAnswerBytes = 4096;
