import { startProcess, type RunningProcess } from "../processes.ts";
import type { ErrandName, Errands, Report } from "./errands.ts";
import type { Spot } from "./spots.ts";

/** Somebody in a cluster who runs errands there, for those who cannot reach into its network. */
export interface Runner extends Pick<RunningProcess, "stop"> {
  run<Name extends ErrandName>(errand: Name, takes: Errands[Name]["takes"]): Promise<Errands[Name]["gives"]>;
}

/** Starts one; it ends with its parent. */
export function startRunner(spot: Spot): Runner {
  const process = startProcess("infra/demo/clusters/runner-process.ts", [], {}, { place: { ...spot, status: () => Promise.reject(new Error("nobody is there yet")) }, talks: true });
  const waiting = new Map<number, { readonly resolve: (gives: unknown) => void; readonly reject: (error: Error) => void }>();
  let last = 0;
  process.child.on("message", (report: Report) => {
    const asked = waiting.get(report.id);
    waiting.delete(report.id);
    if ("gives" in report) asked?.resolve(report.gives);
    else asked?.reject(new Error(report.error));
  });
  process.child.on("exit", () => {
    for (const { reject } of waiting.values()) reject(new Error(`the runner has ended:\n${process.output()}`));
  });
  return {
    stop: process.stop,
    run(errand, takes) {
      const id = ++last;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve: resolve as (gives: unknown) => void, reject });
        process.child.send({ id, errand, takes });
      });
    },
  };
}
