import { dispatch } from "../../ca/cli/dispatch.ts";

export interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a `countersign` command in this process; `env` is all the environment it sees. */
export async function countersign(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  let [stdout, stderr] = ["", ""];
  const io = { stdout: (text: string) => void (stdout += text), stderr: (text: string) => void (stderr += text), env };
  const exitCode = await dispatch(args, io);
  return { exitCode, stdout, stderr };
}

/** Lines that do not fit a terminal of 80 columns, but for words that are longer by themselves. */
export function tooWide(text: string): readonly string[] {
  return text.split("\n").filter((line) => line.length >= 80 && line.trim().includes(" "));
}
