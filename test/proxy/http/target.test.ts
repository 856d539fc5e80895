import { describe, expect, test } from "vitest";
import { parseAuthority, parseRequestTarget } from "../../../proxy/http/target.ts";

describe("a request target", () => {
  const table: readonly [string, { path: string; authority: string | undefined } | undefined][] = [
    ["/", { path: "/", authority: undefined }],
    ["/a//b/../c?d=http://e/#f", { path: "/a//b/../c?d=http://e/#f", authority: undefined }],
    ["*", { path: "*", authority: undefined }],
    ["http://World", { path: "/", authority: "world" }],
    ["HTTP://world:8080/a?b", { path: "/a?b", authority: "world:8080" }],
    ["http://world?b", { path: "/?b", authority: "world" }],
    ["http://[::1]:80/", { path: "/", authority: "[::1]:80" }],
    ["https://world/", undefined],
    ["http://user@world/", undefined],
    ["http://world\\@evil/", undefined],
    ["http:///path", undefined],
    ["http://world,other/", undefined],
    ['http://world"/', undefined],
    ["http://{world}/", undefined],
    ["world:80", undefined],
    ["", undefined],
  ];
  for (const [target, parsed] of table) {
    test(JSON.stringify(target), () => expect(parseRequestTarget(target)).toEqual(parsed));
  }
});

describe("an authority", () => {
  const table: readonly [string, { host: string; port: number | undefined } | undefined][] = [
    ["World", { host: "world", port: undefined }],
    ["world:80", { host: "world", port: 80 }],
    ["world:", { host: "world", port: undefined }],
    ["[::1]:443", { host: "::1", port: 443 }],
    ["10.0.0.1:5432", { host: "10.0.0.1", port: 5432 }],
    ["", undefined],
    ["a b", undefined],
    ["user@world", undefined],
    ["world:80:81", undefined],
    ["world:http", undefined],
  ];
  for (const [authority, parsed] of table) {
    test(JSON.stringify(authority), () => expect(parseAuthority(authority)).toEqual(parsed));
  }
});
