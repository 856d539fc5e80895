#!/usr/bin/env node
// Starts countersign-proxy. Written so that an old Node.js can read it and say what is missing.
var version = process.versions.node.split(".").map(Number);
if (version[0] < 24 || (version[0] === 24 && version[1] < 12)) {
  console.error(
    "countersign-proxy needs Node.js 24.12 or later; this is " + process.version + " (" + process.execPath + ").\n" +
      "Install a current Node.js from https://nodejs.org, or run it through npm in its own\n" +
      'folder, where "npm ci" brings the right one: npx countersign-proxy.'
  );
  process.exit(1);
}
import("./main.ts");
