import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { encodeBootstrap } from "../../ca/pki/bootstrap.ts";
import { fakeCa, type FakeCa } from "../support/fake-ca.ts";
import type { Measure, Order, ProxySettings, Told } from "./messages.ts";

/** A proxy in its own process, and the CA that it alone asks. */
export interface SoakProxy {
  readonly name: string;
  readonly ca: FakeCa;
  readonly inbound: string;
  readonly outbound: readonly string[];
  /** Certificates it was given so far. */
  issued(): number;
  measure(): Promise<Measure>;
  jump(toMs: number): Promise<void>;
  /** Its last lines. */
  log(lines: number): Promise<readonly string[]>;
  ready(): Promise<boolean>;
  stop(): Promise<void>;
}

/** Trust that all proxies of a soak share: each has a CA of its own, so that a CA knows whom it answers. */
export function soakProxies({ scale }: { readonly scale: number }) {
  const startMs = Date.now();
  const now = (): number => startMs + (Date.now() - startMs) * scale;
  let first: FakeCa | undefined;

  async function startCa(name: string): Promise<FakeCa> {
    const ca = await fakeCa({ now });
    first ??= ca;
    const { root, issuer } = first.core;
    if (ca !== first) {
      ca.present(root.issuer());
      ca.core.issuer = issuer;
      ca.core.bundleText = first.core.bundleText;
    }
    ca.core.spiffeId = `spiffe://east/${name}`;
    // Past the time for its renewal and far from its end: it is renewed as soon as that may be.
    Object.defineProperty(ca.core, "leafFaults", { get: () => ({ notBeforeMs: now() - 20 * hourMs, notAfterMs: now() + 4 * hourMs }) });
    return ca;
  }

  return async function startProxy(name: string, ...args: readonly string[]): Promise<SoakProxy> {
    const ca = await startCa(name);
    const bootstrap = encodeBootstrap({ ...ca.bootstrap, rootFingerprint: first!.bootstrap.rootFingerprint });
    const free = ["inbound", "outbound", "admin"].filter((listener) => !args.includes(`--${listener}`)).flatMap((listener) => [`--${listener}`, "127.0.0.1:0"]);
    const settings: ProxySettings = { args: [...free, ...args], bootstrap, startMs, scale };
    const child = fork(program, { execArgv: ["--expose-gc"], env: { PATH: process.env["PATH"] ?? "", SOAK_PROXY: JSON.stringify(settings) } });
    const listening = await told(child, "listening");
    const ask = async <K extends Told["told"]>(order: Order, answer: K): Promise<Extract<Told, { told: K }>> => {
      const answered = told(child, answer);
      child.send(order);
      return answered;
    };
    return {
      name, ca, inbound: listening.inbound[0] ?? "", outbound: listening.outbound,
      issued: () => ca.core.issued.length,
      measure: async () => (await ask({ ask: "measure" }, "measure")).measure,
      jump: async (toMs) => void (await ask({ ask: "jump", toMs }, "jumped")),
      log: async (lines) => (await ask({ ask: "log", lines }, "log")).lines,
      ready: async () => (await fetch(`http://${listening.admin}/readyz`)).ok,
      async stop() {
        if (child.exitCode === null && child.signalCode === null) {
          child.disconnect();
          await once(child, "exit");
        }
        await ca.stop();
      },
    };
  };
}

/** Waits for what the process says of this kind; its end is the end of the soak. */
function told<K extends Told["told"]>(child: ChildProcess, kind: K): Promise<Extract<Told, { told: K }>> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error("a proxy of the soak ended by itself"));
    const onMessage = (message: unknown): void => {
      if ((message as Told).told !== kind) return;
      child.off("message", onMessage).off("exit", onExit);
      resolve(message as Extract<Told, { told: K }>);
    };
    child.on("message", onMessage).once("exit", onExit);
  });
}

const program = fileURLToPath(new URL("proxy-process.ts", import.meta.url));
const hourMs = 3_600_000;
