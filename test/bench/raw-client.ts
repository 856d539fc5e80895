import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type SecureContext } from "node:tls";

/** A connection that asks as cheaply as Node can, so that the load leaves the machine to what is measured. */
export interface RawClient {
  readonly socket: Socket;
  /** Sends a request and resolves when the answer has ended with `until`; rejects when the connection ends before. */
  ask(request: string | Buffer, until: string): Promise<void>;
  /** Sends a request and resolves when its body of `size` bytes has come. */
  download(request: string, size: number): Promise<void>;
}

/** Connects, with TLS where there is a context; resolves when it may be used. */
export function rawClient(port: number, secureContext: SecureContext | undefined): Promise<RawClient> {
  return new Promise((resolve, reject) => {
    const socket: Socket = secureContext === undefined ? connectTcp({ host: "127.0.0.1", port, noDelay: true })
      : connectTls({ host: "127.0.0.1", port, secureContext, rejectUnauthorized: false, ...{ noDelay: true } });
    let onBytes: (bytes: Buffer) => void = () => undefined;
    let failed: (error: Error) => void = reject;
    socket.on("data", (bytes: Buffer) => onBytes(bytes));
    socket.on("error", (error) => failed(error)).on("close", () => failed(new Error("the connection was closed")));
    socket.once(secureContext === undefined ? "connect" : "secureConnect", () => resolve({
      socket,
      ask: (request, until) => new Promise((done, refuse) => {
        failed = refuse;
        onBytes = (bytes) => {
          if (bytes.toString("latin1", Math.max(0, bytes.length - until.length)) === until) done();
        };
        socket.write(request);
      }),
      download: (request, size) => new Promise((done, refuse) => {
        failed = refuse;
        let left = -1;
        let head = "";
        onBytes = (bytes) => {
          if (left >= 0) left -= bytes.length;
          else {
            head += bytes.toString("latin1");
            const end = head.indexOf("\r\n\r\n");
            if (end >= 0) left = size - (head.length - end - 4);
          }
          if (left === 0) done();
        };
        socket.write(request);
      }),
    }));
  });
}
