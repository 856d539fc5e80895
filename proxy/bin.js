#!/usr/bin/env node
// Starts countersign-proxy. Written so that an old Node.js can read it and say what is missing.
var needed = "24.12";
var version = process.versions.node.split(".").map(Number);
if (version[0] < 24 || (version[0] === 24 && version[1] < 12)) {
  console.error(
    "countersign-proxy needs Node.js " + needed + " or later; this is " + process.version + " (" + process.execPath + ").\n" +
      "Install a current Node.js from https://nodejs.org, or run it through npm in its own\n" +
      'folder, where "npm ci" brings the right one: npx countersign-proxy.'
  );
  process.exit(1);
}
// Node.js runs TypeScript anywhere but below node_modules, where an installed package has the bundle.
import(/[\\/]node_modules[\\/]/.test(import.meta.url) ? "../dist/countersign-proxy.js" : "./main.ts");
