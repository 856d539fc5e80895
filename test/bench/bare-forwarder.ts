// The yardstick of the proxy bench: the least that Node can do between mutual TLS and a local app. It takes whatever chains to
// one pool of anchors, parses nothing, knows no identity, policy, deny-list or metric.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { createServer } from "node:tls";

const { PORT, APP, CERT, KEY, ROOT } = process.env as Record<string, string>;

const server = createServer({
  cert: readFileSync(CERT!), key: readFileSync(KEY!), ca: readFileSync(ROOT!), requestCert: true, minVersion: "TLSv1.3", noDelay: true,
}, (inbound) => {
  const app = connect({ port: Number(APP), host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
  for (const [from, to] of [[inbound, app], [app, inbound]] as const) {
    from.on("data", (data: Buffer) => { if (!to.write(data)) { from.pause(); to.once("drain", () => from.resume()); } });
    from.on("end", () => to.end());
    from.on("error", () => to.destroy());
  }
});
server.listen(Number(PORT), "127.0.0.1", () => console.log("listening"));
