/** Style of the dashboard: one file, no font and no picture from anywhere. */
export const dashboardStyle = `
:root { --text: #1a2230; --soft: #566274; --back: #f5f7fa; --card: #fff; --line: #dde4ed; --code: #eef2f7; --link: #0b57d0;
  --ok: #0a6847; --warning: #855600; --failed: #b3261e; --ok-back: #e2f4ec; --warning-back: #fdf1d6; --failed-back: #fce8e6; --grid: #e8edf4; --bar: #7b93b8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6ebf2; --soft: #a0acbd; --back: #0e131a; --card: #161d27; --line: #2b3646; --code: #202938; --link: #8ab4f8;
    --ok: #63d6aa; --warning: #f2c14e; --failed: #f5958d; --ok-back: #12352a; --warning-back: #3a2e10; --failed-back: #3f1f1d; --grid: #222c3a; --bar: #6d83a8; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; overflow-wrap: anywhere; }
header, nav ul, main, footer { max-width: 80rem; margin: 0 auto; padding: 0 1rem; }
header { display: flex; align-items: center; gap: .5rem 1rem; padding-top: .75rem; padding-bottom: .25rem; flex-wrap: wrap; }
.brand { display: inline-flex; align-items: center; gap: .5rem; font-weight: 650; font-size: 1.0625rem; color: var(--text); }
.brand svg { color: var(--link); }
.brand:hover { text-decoration: none; }
.domain { border: 1px solid var(--line); border-radius: 99px; padding: 0 .625rem; font-size: .8125rem; background: var(--card); }
.who { display: flex; align-items: center; gap: .625rem; margin-left: auto; font-size: .875rem; min-width: 0; }
.who .name { max-width: 16rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .5rem 1rem; border-radius: 8px; z-index: 2; }
nav { border-bottom: 1px solid var(--line); }
nav ul { list-style: none; display: flex; gap: .25rem; overflow-x: auto; scrollbar-width: thin; }
nav a { display: block; padding: .5rem .625rem; color: var(--soft); border-bottom: 2px solid transparent; white-space: nowrap; }
nav a:hover { color: var(--text); text-decoration: none; }
nav a[aria-current] { color: var(--text); border-color: var(--link); font-weight: 600; }
main { padding-top: 1.25rem; padding-bottom: 2rem; outline: none; }
footer { display: flex; justify-content: space-between; font-size: .8125rem; padding-bottom: 1.5rem; }
h1 { font-size: 1.375rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1rem; margin: 0 0 .625rem; }
h3 { font-size: .875rem; margin: 1rem 0 .25rem; }
p { margin: .375rem 0; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
p a, li a { text-decoration: underline; text-underline-offset: 2px; }
nav a, .brand, td a, a.button { text-decoration: none; }
td a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 4px; }
code, pre, .id, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .8125rem; }
code { background: var(--code); border-radius: 4px; padding: .1em .3em; }
pre { background: var(--code); border-radius: 8px; padding: .75rem 1rem; margin: .5rem 0; overflow-x: auto; white-space: pre-wrap; }
.soft { color: var(--soft); }
.cards { display: grid; gap: 0 1rem; grid-template-columns: repeat(12, minmax(0, 1fr)); }
.cards > * { grid-column: span 12; }
@media (min-width: 60rem) { .cards > .half { grid-column: span 6; } .cards > .wide { grid-column: span 8; } .cards > .slim { grid-column: span 4; } }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1rem 1.25rem; margin-bottom: 1rem; min-width: 0; }
.cards > * { min-width: 0; }
.cards .tiles { margin-bottom: 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem; margin: 0; }
.tiles > div { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: .625rem .875rem; }
.tiles dt { font-size: .8125rem; color: var(--soft); }
.tiles dd { margin: 0; font-size: 1.375rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.3; }
.tiles dd small { font-size: .8125rem; font-weight: 400; color: var(--soft); display: block; }
.chip { display: inline-block; border-radius: 99px; padding: 0 .5rem; font-size: .8125rem; white-space: nowrap; background: var(--code); }
.chip.ok { color: var(--ok); background: var(--ok-back); } .chip.warning { color: var(--warning); background: var(--warning-back); }
.chip.failed { color: var(--failed); background: var(--failed-back); }
.verdict { display: flex; gap: .875rem; align-items: center; padding: .875rem 1.25rem; border-radius: 12px; border: 1px solid; margin-bottom: 1rem; }
.verdict .sign { font-size: 1.5rem; line-height: 1; }
.verdict p { margin: 0; }
.verdict.ok { color: var(--ok); background: var(--ok-back); } .verdict.warning { color: var(--warning); background: var(--warning-back); }
.verdict.failed { color: var(--failed); background: var(--failed-back); }
ul.findings, ul.plain { list-style: none; margin: 0; padding: 0; }
.findings li { display: grid; grid-template-columns: 1.5rem 1fr; padding: .375rem 0; }
.findings li + li { border-top: 1px solid var(--line); }
.findings .hint { grid-column: 2; color: var(--soft); font-size: .875rem; }
.sign.ok { color: var(--ok); } .sign.warning { color: var(--warning); } .sign.failed { color: var(--failed); }
table { width: 100%; border-collapse: collapse; font-size: .875rem; }
caption { text-align: left; color: var(--soft); font-size: .8125rem; padding-bottom: .375rem; }
th { font-weight: 500; color: var(--soft); font-size: .8125rem; }
th, td { text-align: left; vertical-align: top; padding: .4375rem .75rem .4375rem 0; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0; }
td time, td .chip { white-space: nowrap; }
details > summary { cursor: pointer; color: var(--link); font-size: .875rem; padding: .25rem 0; }
button, .button { font: inherit; font-weight: 550; border-radius: 8px; border: 1px solid var(--link); background: var(--link); color: var(--card); padding: .4375rem .875rem; cursor: pointer; display: inline-block; }
.button:hover { text-decoration: none; }
button.quiet, .button.quiet { background: transparent; color: var(--link); border-color: var(--line); padding: .25rem .625rem; font-weight: 400; font-size: .875rem; }
button.danger, .button.danger { background: var(--failed); border-color: var(--failed); }
label { display: block; font-size: .8125rem; color: var(--soft); }
input, select, textarea { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--bar); border-radius: 8px; padding: .4375rem .625rem; width: 100%; }
form.fields input:not([type=checkbox]), form.fields select { height: 2.4375rem; }
form.fields { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 12rem), 1fr)); align-items: end; }
form.fields .grow { grid-column: span 2; }
.narrow { max-width: 30rem; }
.narrow button { margin: .5rem 0; }
dd .chip { font-weight: 400; }
.note { border-left: 3px solid var(--bar); padding: .25rem .75rem; margin: .75rem 0; }
.note.failed { border-color: var(--failed); color: var(--failed); }
svg.chart { display: block; width: 100%; overflow: visible; }
svg text { fill: var(--soft); font-size: 11px; font-family: inherit; }
.grid { stroke: var(--grid); } .axis { stroke: var(--line); } .now { stroke: var(--link); stroke-width: 1.5; }
.fill-bar { fill: var(--bar); } .fill-ok { fill: var(--ok); } .fill-warning { fill: var(--warning); } .fill-failed { fill: var(--failed); }
.legend { display: flex; gap: 1rem; flex-wrap: wrap; font-size: .8125rem; color: var(--soft); margin: .25rem 0 0; padding: 0; list-style: none; }
form.bar { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: .75rem 1rem; margin-bottom: 1rem; }
label.check { display: flex; gap: .5rem; align-items: center; color: var(--text); font-size: .875rem; padding: .5rem 0; }
label.check input { width: auto; }
dl.facts { display: grid; grid-template-columns: 8rem minmax(0, 1fr); gap: .375rem 1rem; margin: 0; font-size: .9375rem; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; }
svg.life { margin-top: .375rem; max-width: 30rem; } .rest { fill: var(--grid); }
.edge { fill: none; } line.edge { stroke-width: 1.5; } .edge.secured { stroke: var(--ok); } .edge.unsecured { stroke: var(--failed); stroke-dasharray: 5 3; }
.arrow.secured { fill: var(--ok); } .arrow.unsecured { fill: var(--failed); }
.node { fill: var(--card); stroke: var(--bar); } svg a:hover .node, svg a:focus-visible .node { stroke: var(--link); stroke-width: 2; } svg a { outline: none; } svg a:hover { text-decoration: none; }
.node.unknown { stroke: var(--failed); stroke-dasharray: 4 3; }
svg text.name { fill: var(--text); font-size: 12px; }
ol.tree { list-style: none; margin: 0; padding: 0; font-size: .875rem; }
.tree li { display: grid; grid-template-columns: minmax(0, 24rem) minmax(0, 1fr); gap: .25rem 1rem; align-items: center; padding: .25rem 0; border-bottom: 1px solid var(--line); }
.tree li:last-child { border-bottom: 0; } .tree li.ticks { padding: 0; } .tree li a { text-decoration: none; } .tree li a:hover { text-decoration: underline; }
.tree .d1 { padding-left: 1.25rem; } .tree .d2 { padding-left: 2.5rem; } .tree .d3 { padding-left: 3.75rem; }
.small { font-size: .8125rem; display: block; }
progress { width: 100%; height: .75rem; accent-color: var(--link); }
article + article { border-top: 1px solid var(--line); margin-top: .75rem; padding-top: .25rem; }
article h3 { font-size: .9375rem; } ul.rules { margin: .25rem 0; padding-left: 1rem; list-style: none; } ul.rules li { padding: .125rem 0; }
#decision { margin-top: .75rem; } .failed-text { color: var(--failed); } .node.own { stroke: var(--link); stroke-width: 2; }
#proof ol { margin: .5rem 0; padding-left: 1.25rem; } #proof li { margin: .25rem 0; }
.scroll { overflow-x: auto; } svg.graph { display: block; }
.legend svg { vertical-align: -1px; margin-right: .25rem; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 44rem) {
  main { padding-left: .75rem; padding-right: .75rem; }
  .card { padding: .875rem; }
  table, caption, tbody, tr, td { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { padding: .5rem 0; border-bottom: 1px solid var(--line); }
  tr:last-child { border-bottom: 0; }
  td { border: 0; padding: .125rem 0; display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: .5rem; }
  td::before { content: attr(data-label); color: var(--soft); font-size: .8125rem; }
  td > * { min-width: 0; }
  .who .name { max-width: 8rem; }
  dl.facts { grid-template-columns: 1fr; gap: 0; } dl.facts dd { margin-bottom: .5rem; }
  .wide-only { display: none; }
  .tree li { grid-template-columns: minmax(0, 1fr); } .tree .d1 { padding-left: .75rem; } .tree .d2 { padding-left: 1.5rem; } .tree .d3 { padding-left: 2.25rem; }
  form.fields .grow { grid-column: auto; }
}
@media (prefers-reduced-motion: no-preference) { .fresh { animation: fresh 1.2s ease-out; } @keyframes fresh { from { background: var(--warning-back); } } }
`;
