import { text } from "node:stream/consumers";
import { connect } from "node:net";
import { inject } from "vitest";

/**
 * A new empty database of a real Postgres, which is started when the first test asks for it, serves them all and ends with the
 * run (`global-setup.ts`).
 * @returns its URL; the user is superuser
 */
export async function createDatabase(): Promise<string> {
  const answer = await text(connect(inject("postgres")));
  if (!answer.startsWith("postgres:")) throw new Error(answer);
  return answer;
}

declare module "vitest" {
  export interface ProvidedContext {
    /** Unix socket: each connection to it is answered with the URL of a new database. */
    postgres: string;
  }
}
