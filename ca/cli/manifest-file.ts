import { isSeq, parseAllDocuments, visit, type Document, type ParsedNode } from "yaml";
import type { InjectSettings } from "../inject/containers.ts";
import type { Injection } from "../inject/injection.ts";
import { planManifest, type PlannedWorkload } from "../inject/manifest.ts";
import { ApiError } from "./api.ts";

/**
 * Gives the workloads in a text of Kubernetes objects their proxies. Whatever else stands in it stays as it is written, comments and
 * quotes too: what YAML 1.1, as kubectl reads it, and 1.2 take differently (`yes`) is not ours to decide.
 * @throws {ApiError} for what is no YAML, or has aliases
 */
export function injectManifests(text: string, settings: InjectSettings): { readonly text: string; readonly workloads: readonly PlannedWorkload[] } {
  if (text.length > maxChars) throw new ApiError(`the file is longer than ${maxChars} characters; inject it in parts`);
  const documents = [...parseAllDocuments(text, { version: "1.2", schema: "core", uniqueKeys: true })];
  const workloads = documents.flatMap((document) => {
    const [fault] = document.errors;
    if (fault !== undefined) throw new ApiError(`it is no YAML (${fault.message.split("\n")[0]?.replace(/:$/, "")})`, { cause: fault });
    const planned = planManifest(valueOf(document), settings);
    for (const { path, plan } of planned) if (plan.kind === "inject") add(document, path, plan.injection);
    return planned;
  });
  const isChanged = workloads.some(({ plan }) => plan.kind === "inject");
  return { text: isChanged ? documents.map((document) => document.toString({ lineWidth: 0 })).join("") : text, workloads };
}

function add(document: Document, path: readonly (string | number)[], { initContainers, volume, annotations }: Injection): void {
  for (const [name, value] of Object.entries(annotations)) document.setIn([...path, "metadata", "annotations", name], nodeOf(document, value));
  for (const container of initContainers.toReversed()) prepend(document, [...path, "spec", "initContainers"], container);
  const volumes = [...path, "spec", "volumes"];
  if (isSeq(document.getIn(volumes))) document.addIn(volumes, nodeOf(document, volume));
  else document.setIn(volumes, nodeOf(document, [volume]));
}

function prepend(document: Document, path: readonly (string | number)[], value: unknown): void {
  const list = document.getIn(path);
  if (isSeq(list)) list.items.unshift(nodeOf(document, value));
  else document.setIn(path, nodeOf(document, [value]));
}

/** Strings in quotes: kubectl takes a plain `off` for a boolean. */
function nodeOf(document: Document, value: unknown) {
  const node = document.createNode(value, { aliasDuplicateObjects: false });
  visit(node, { Scalar: (key, scalar) => void (key !== "key" && typeof scalar.value === "string" && (scalar.type = scalar.value.includes("\n") ? "BLOCK_LITERAL" : "QUOTE_DOUBLE")) });
  return node;
}

function valueOf(document: Document.Parsed<ParsedNode>): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 }) as unknown;
  } catch (cause) {
    throw new ApiError("it has aliases (*name), which are not taken; write the values out", { cause });
  }
}

const maxChars = 4 * 1024 * 1024;
