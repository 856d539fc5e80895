import type { PipeEnd } from "../pipe.ts";
import type { AcceptedPeer } from "./accept.ts";
import { detectProtocol, detectServer, mayDecide, type Detection } from "./detect.ts";
import { firstLine } from "./first-line.ts";
import { connectApp, type AppSettings } from "./tcp.ts";

export interface SniffOutcome {
  http(head: Buffer): void;
  /** @param openApp a connection to the app that is open already, because the app was to speak first */
  tcp(head: Buffer, openApp: PipeEnd | undefined): void;
  appFailed(error: Error): void;
  /** The connection is reset. */
  refused(reason: string, message: string): void;
}

/**
 * Reads until it is clear what the client speaks. Not one byte reaches the app before that, however long it takes: a client that
 * could wait for the deadline and then send HTTP would get its own identity header through. What the deadline does is open the
 * connection to the app, so that a server which speaks first can. A client that has begun a line has as long to finish it.
 */
export function sniffProtocol(accepted: AcceptedPeer, settings: AppSettings, outcome: SniffOutcome): void {
  const { socket, lent = false, reset, app } = accepted;
  let head: Buffer = Buffer.alloc(0);
  let openApp: PipeEnd | undefined;
  /** What the app has said before the client did. */
  let said: Buffer = Buffer.alloc(0);
  let deadline = setTimeout(letAppSpeak, detectionTimeoutMs);

  function onData(chunk: Buffer): void {
    if (head.length === 0) {
      clearTimeout(deadline);
      deadline = setTimeout(() => decide("undecided"), detectionTimeoutMs);
    }
    head = head.length === 0 && !lent ? chunk : Buffer.concat([head, chunk]);
    if (!mayDecide(chunk, head.length)) return;
    const detected = detectProtocol(head);
    if (detected === "tcp") followLine();
    if (detected !== "undecided") decide(detected);
  }

  /** The line that was decided on may go on. */
  function followLine(): void {
    const follow = firstLine();
    if (follow(head) !== "open") return;
    accepted.mayPass = (bytes) => {
      const line = follow(bytes);
      if (line === "request") {
        outcome.refused("line_disguised", disguised);
        reset();
      } else if (line === "other") accepted.mayPass = undefined;
      return line !== "request";
    };
  }

  /** Half-closed in the middle of a line: no request will come of it, unless the app ends lines where we do not. */
  const onEnd = (): void => decide(detectProtocol(head, true) === "tcp" ? "tcp" : "undecided");
  function onAppReadable(): void {
    const bytes: Buffer | null = openApp!.socket.read();
    if (bytes === null) return;
    said = Buffer.concat([said, bytes]);
    const speaks = detectServer(said);
    if (speaks !== "undecided") decide(speaks);
  }

  function onClose(): void {
    clearTimeout(deadline);
    openApp?.reset();
  }

  function letAppSpeak(): void {
    socket.setTimeout(settings.idleTimeoutMs).on("timeout", reset);
    openApp = connectApp(app, settings, (error) => {
      outcome.appFailed(error);
      reset();
    });
    openApp.socket.on("readable", onAppReadable);
    openApp.socket.on("close", reset);
  }

  function decide(detected: Detection): void {
    clearTimeout(deadline);
    socket.setTimeout(0).off("data", onData).off("end", onEnd).off("close", onClose).off("timeout", reset);
    openApp?.socket.off("readable", onAppReadable).off("close", reset);
    if (detected === "tcp") {
      if (said.length > 0) openApp?.socket.unshift(said);
      return outcome.tcp(head, openApp);
    }
    openApp?.reset();
    if (detected !== "http" && detected !== "http2") return refuse(detected);
    outcome.http(head);
  }

  function refuse(detected: Detection): void {
    outcome.refused(detected === "undecided" ? "line_incomplete" : detected, refusals[detected] ?? "");
    reset();
  }

  socket.on("data", onData).on("end", onEnd).on("close", onClose);
}

const refusals: Readonly<Partial<Record<Detection, string>>> = {
  undecided: "connection refused: the client did not finish its first line in time, so it is not known whether it speaks HTTP; set inboundProtocol tcp if the app takes no identity from headers",
  proxy_preamble: "connection refused: the client sent a PROXY protocol preamble, behind which it could forge what it likes; set inboundProtocol tcp if the app is to read it",
};
const disguised = "connection cut: what the client sent turned out to be an HTTP request with a disguised method, which hides from us what it says of its identity; set inboundProtocol http if the app speaks that, or tcp if it takes no identity from headers";
/** As Linkerd's. */
const detectionTimeoutMs = 10_000;
