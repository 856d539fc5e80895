// Prints vitest's JSON report and the exit code of the soak as one line, and fails on what a green run must not have: failures, skips, no tests.
import { readFileSync } from "node:fs";

const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, numFailedTestSuites } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const soaked = process.argv[3] === "0";
if (!soaked) console.log("the soak found what is told above");
const skipped = numPendingTests + numTodoTests;
if (skipped > 0) console.log(`${skipped} tests were skipped: in CI nothing may be`);
if (numFailedTestSuites > 0 && numFailedTests === 0) console.log(`${numFailedTestSuites} test files could not be run`);
console.log(`${numPassedTests + (soaked ? 1 : 0)} passed, ${numFailedTests + (soaked ? 0 : 1)} failed`);
process.exitCode = numPassedTests > 0 && numFailedTests === 0 && numFailedTestSuites === 0 && skipped === 0 && soaked ? 0 : 1;
