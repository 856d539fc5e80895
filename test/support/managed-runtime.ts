/**
 * What AWS's own runtime for Node.js does with a function: it imports the module (INIT), then hands each event to its handler. LAMBDA-MODULE
 * @source aws/aws-lambda-nodejs-runtime-interface-client
 */
import { pathToFileURL } from "node:url";
import { serveInvocations } from "../../ca/runtime/lambda-loop.ts";

const { handler } = await import(pathToFileURL(process.argv[2]!).href) as typeof import("../../ca/runtime/lambda.ts");
await serveInvocations(process.env["AWS_LAMBDA_RUNTIME_API"]!, ({ event, deadlineMs }) => handler(event, { getRemainingTimeInMillis: () => deadlineMs - Date.now() }));
