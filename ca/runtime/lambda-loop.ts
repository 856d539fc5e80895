import { Agent, request, type IncomingHttpHeaders } from "node:http";
import { text } from "node:stream/consumers";

export interface Invocation {
  readonly event: unknown;
  /** Milliseconds since the epoch. */
  readonly deadlineMs: number;
}

/**
 * Takes one invocation after another from the Lambda Runtime API, as the managed runtimes do: for one with a Node.js of our own, and for tests.
 * @param api  host and port, AWS_LAMBDA_RUNTIME_API
 * @returns never, but by an error of the Runtime API, after which Lambda starts the process anew
 * @source AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes"
 */
export async function serveInvocations(api: string, handle: (invocation: Invocation) => Promise<unknown>): Promise<never> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const call = (method: string, path: string, body?: string) => exchange({ agent, api, method, path: `/2018-06-01/runtime/${path}`, body });
  for (;;) {
    // The process is frozen in here, for as long as nobody asks.
    const { headers, body } = await call("GET", "invocation/next");
    const id = String(headers["lambda-runtime-aws-request-id"]);
    let outcome: readonly [path: string, body: string];
    try {
      const answer = await handle({ event: JSON.parse(body), deadlineMs: Number(headers["lambda-runtime-deadline-ms"]) });
      outcome = [`invocation/${id}/response`, JSON.stringify(answer ?? null)];
    } catch (error) {
      const { name, message } = error as Error;
      outcome = [`invocation/${id}/error`, JSON.stringify({ errorType: name, errorMessage: message })];
    }
    await call("POST", ...outcome);
  }
}

function exchange({ agent, api, method, path, body }: {
  readonly agent: Agent; readonly api: string; readonly method: string; readonly path: string; readonly body: string | undefined;
}): Promise<{ readonly headers: IncomingHttpHeaders; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(`http://${api}${path}`, { agent, method, headers: body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) } });
    sent.on("error", reject);
    sent.on("response", (response) => {
      text(response).then((answer) => {
        const { statusCode = 0, headers } = response;
        if (statusCode >= 200 && statusCode < 300) resolve({ headers, body: answer });
        else reject(new Error(`the Lambda Runtime API answered ${statusCode} to ${method} ${path}`));
      }, reject);
    });
    sent.end(body);
  });
}
