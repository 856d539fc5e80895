import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

/** Asks whoever sits at the terminal, on standard error; a secret is not echoed. */
export type Ask = (question: string, options?: { readonly secret?: boolean }) => Promise<string>;

/** A way to ask, where there is a terminal; undefined where nobody could answer. */
export function terminalAsk(input: NodeJS.ReadStream, output: NodeJS.WriteStream): Ask | undefined {
  if (!input.isTTY || !output.isTTY) return undefined;
  return async (question, { secret = false } = {}) => {
    output.write(question);
    // With a terminal that readline draws itself, what is typed shows only where it writes it.
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
    const lines = createInterface({ input, output: secret ? nowhere : output, terminal: secret });
    try {
      return await lines.question("");
    } finally {
      lines.close();
      if (secret) output.write("\n");
    }
  };
}
