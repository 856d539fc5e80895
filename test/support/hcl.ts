/** A value as it is written: what is no literal is the text of its expression. */
export type HclValue = string | number | boolean | null | readonly HclValue[] | { readonly [name: string]: HclValue } | HclExpression;

export interface HclExpression {
  readonly expression: string;
}

export interface HclBlock {
  readonly type: string;
  readonly labels: readonly string[];
  readonly attributes: Readonly<Record<string, HclValue>>;
  readonly blocks: readonly HclBlock[];
}

/**
 * Reads the part of HCL that our own files use: blocks, attributes, literals, and expressions as text. `jsonencode(...)` is its argument.
 * @throws {SyntaxError} for everything else
 * @source https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md
 */
export function parseHcl(text: string): readonly HclBlock[] {
  const tokens = tokenize(text);
  let at = 0;

  const peek = (): Token | undefined => tokens[at];
  function take(expected?: string): Token {
    const token = tokens[at++];
    if (token === undefined || (expected !== undefined && token.text !== expected)) throw new SyntaxError(`line ${token?.line}: ${token?.text ?? "end"} where ${expected ?? "more"} is due`);
    return token;
  }
  const skipLines = (): void => {
    while (peek()?.text === "\n") at++;
  };

  function body(end: string | undefined): Pick<HclBlock, "attributes" | "blocks"> {
    const attributes: Record<string, HclValue> = {};
    const blocks: HclBlock[] = [];
    for (skipLines(); peek() !== undefined && peek()?.text !== end; skipLines()) {
      const name = take().text;
      if (peek()?.text === "=") {
        take("=");
        if (name in attributes) throw new SyntaxError(`${name} is given twice`);
        attributes[name] = value();
        continue;
      }
      const labels: string[] = [];
      while (peek()?.text !== "{") labels.push(JSON.parse(take().text) as string);
      take("{");
      blocks.push({ type: name, labels, ...body("}") });
      take("}");
    }
    return { attributes, blocks };
  }

  function value(): HclValue {
    const start = at;
    const literal = primary();
    // An operator, a reference or a call makes an expression of what was read.
    if (literal !== undefined && ends()) return literal;
    at = start;
    let depth = 0;
    while (peek() !== undefined && !(depth === 0 && ends())) {
      const { text: token } = take();
      if ("([{".includes(token)) depth++;
      if (")]}".includes(token)) depth--;
    }
    return { expression: tokens.slice(start, at).map(({ text: token }) => token).join("") };
  }

  const ends = (): boolean => [undefined, "\n", ",", "]", "}", ")"].includes(peek()?.text);

  function primary(): HclValue | undefined {
    const { text: token } = take();
    if (token === "jsonencode") {
      take("(");
      const inner = value();
      take(")");
      return inner;
    }
    if (token === "[") return sequence();
    if (token === "{") return object();
    if (token.startsWith('"')) return token.includes("${") ? { expression: token } : JSON.parse(token) as string;
    if (/^-?\d/.test(token)) return Number(token);
    return ({ true: true, false: false, null: null } as const)[token as "true"];
  }

  function sequence(): HclValue {
    const items: HclValue[] = [];
    for (skipLines(); peek()?.text !== "]"; skipLines()) {
      items.push(value());
      skipLines();
      if (peek()?.text === ",") take();
    }
    take("]");
    return items;
  }

  function object(): HclValue {
    const entries: Record<string, HclValue> = {};
    for (skipLines(); peek()?.text !== "}"; skipLines()) {
      const { text: key } = take();
      take("=");
      entries[key.startsWith('"') ? JSON.parse(key) as string : key] = value();
      if (peek()?.text === ",") take();
    }
    take("}");
    return entries;
  }

  return body(undefined).blocks;
}

interface Token {
  readonly text: string;
  readonly line: number;
}

function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let line = 1;
  const pattern = /[^\S\n]+|#[^\n]*|\n|"(?:\\.|\$\{[^}]*\}|[^"\\])*"|[\w-]+|[<>=!]=|=>|&&|\|\||[{}()[\]=,.?:*<>!/+]/gy;
  while (pattern.lastIndex < text.length) {
    const from = pattern.lastIndex;
    const [token] = pattern.exec(text) ?? [];
    if (token === undefined) throw new SyntaxError(`line ${line}: ${text.slice(from, from + 20)} is not understood`);
    if (!/^(#|[^\S\n])/.test(token)) tokens.push({ text: token, line });
    if (token === "\n") line++;
  }
  return tokens;
}
