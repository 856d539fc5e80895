/** Style of the API's page. The page's policy allows exactly these bytes. */
export const docsStyle = `
:root { --text: #1c2430; --soft: #5b6777; --back: #fbfcfe; --card: #fff; --line: #dde3ec; --code: #f0f3f8;
  --link: #0b57d0;
  --get: #0b6e4f; --post: #0b57d0; --delete: #b3261e; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e9f1; --soft: #98a4b5; --back: #10151d; --card: #171e29; --line: #2a3443; --code: #202937;
    --link: #8ab4f8;
    --get: #5fd3a6; --post: #8ab4f8; --delete: #f28b82; --warn: #f2c14e; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
header, .columns { max-width: 74rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; }
h2::first-letter { text-transform: uppercase; }
h3 { font-size: 1.0625rem; margin: 0; }
p { margin: .5rem 0; }
a { color: var(--link); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
h2 a, h3 a { color: inherit; }
nav h2 a { display: inline-block; }
nav h2 a::first-letter { text-transform: uppercase; }
code, pre { font: .875em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
code { background: var(--code); border-radius: 4px; padding: .1em .3em; }
pre { background: var(--code); border-radius: 8px;
  padding: .75rem 1rem; margin: .75rem 0; overflow-x: auto; overflow-wrap: normal; }
article { background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 1rem 1.25rem; margin: 1rem 0; }
article:target { border-color: var(--link); }
tr:target { background: var(--code); }
.line { display: flex; flex-wrap: wrap; gap: .25rem .5rem; align-items: baseline; }
.line code { background: none; padding: 0; }
.method { font: 600 .8125rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
.get { color: var(--get); } .post { color: var(--post); } .delete { color: var(--delete); }
.access { color: var(--soft); font-size: .875rem; margin-left: auto; }
table { width: 100%; border-collapse: collapse; margin: .5rem 0; font-size: .9375rem; }
caption { text-align: left; color: var(--soft); font-size: .875rem; }
th, td { text-align: left; vertical-align: top; padding: .375rem .75rem .375rem 0; border-top: 1px solid var(--line); }
th { font-weight: 400; width: 11rem; }
details th { width: 4rem; }
th code { background: none; padding: 0; }
.example, .types, .or { color: var(--soft); font-size: .875rem; }
summary { cursor: pointer; color: var(--soft); font-size: .9375rem; }
summary b, th b { font-weight: 600; font-variant-numeric: tabular-nums; }
.s2 { color: var(--get); } .s4 { color: var(--warn); } .s5 { color: var(--delete); }
nav h2 { font-size: .875rem; color: var(--soft); margin: 1.25rem 0 .25rem; }
nav ul { list-style: none; margin: 0; padding: 0; font-size: .9375rem; }
nav li { padding: .125rem 0; }
@media (min-width: 60rem) {
  .columns { display: grid; grid-template-columns: 14rem minmax(0, 1fr); gap: 2.5rem; }
  nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto; padding-bottom: 2rem; }
}
@media (max-width: 59.99rem) {
  nav { display: flex; flex-wrap: wrap; gap: 0 1rem; }
  nav h2 { margin: .5rem 0 0; }
  nav h2 a { color: var(--link); }
  nav ul { display: none; }
}
@media (max-width: 36rem) {
  article { padding: .875rem; }
  th, td { display: block; width: auto; padding-right: 0; }
  td { border-top: 0; padding-top: 0; }
  th, details th { width: auto; }
  .access { margin-left: 0; width: 100%; }
}
`;
