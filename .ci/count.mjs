// Prints vitest's JSON report as one line, and fails on what a green run must not have: failures, skips, no tests.
import { readFileSync } from "node:fs";

const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, numFailedTestSuites } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const skipped = numPendingTests + numTodoTests;
if (skipped > 0) console.log(`${skipped} tests were skipped: in CI nothing may be`);
if (numFailedTestSuites > 0 && numFailedTests === 0) console.log(`${numFailedTestSuites} test files could not be run`);
console.log(`${numPassedTests} passed, ${numFailedTests} failed`);
process.exitCode = numPassedTests > 0 && numFailedTests === 0 && numFailedTestSuites === 0 && skipped === 0 ? 0 : 1;
