import { type Branding, cssColor, parseColor, type Rgb, readableOn, textOn } from '../branding.ts'

// `--soft`, on which a link is hardest to read.
const surfaces: Readonly<Record<'light' | 'dark', Rgb>> = { light: [246, 247, 249], dark: [35, 38, 44] }
const calmBlue: Rgb = [37, 84, 199]

/** The one style sheet of all pages. It stands in each page, allowed by its hash, so that a page needs no second request. */
export const styleSheet = ({ color }: Branding): string => {
  const accent = (color === undefined ? undefined : parseColor(color)) ?? calmBlue
  return `:root{color-scheme:light dark;${colors('light', accent)}--page:#f4f5f7;--card:#fff;--text:#16181d;--quiet:#565b66;--line:#dcdfe5;--field:#8a909c;--soft:#f6f7f9;--warn:#fff6e0;--warn-line:#e7c66b;--warn-text:#5c4300;--bad:#fdecec;--bad-line:#eba9a9;--bad-text:#8a1616;--good:#e8f5ec;--good-line:#a3d3b2;--good-text:#14532d}
@media (prefers-color-scheme:dark){:root{${colors('dark', accent)}--page:#101114;--card:#1b1d22;--text:#eef0f4;--quiet:#a9afbb;--line:#33373f;--field:#7b818d;--soft:#23262c;--warn:#2e2713;--warn-line:#6f5a1d;--warn-text:#f3dc9b;--bad:#351a1c;--bad-line:#7c3a3f;--bad-text:#ffc4c4;--good:#16291d;--good-line:#2f5f41;--good-text:#b9ecc9}}
${rules}`
}

const colors = (scheme: 'light' | 'dark', accent: Rgb): string =>
  `--accent:${cssColor(accent)};--on-accent:${cssColor(textOn(accent))};--link:${cssColor(readableOn(surfaces[scheme], accent))};`

const rules = `*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;min-height:100vh;min-height:100dvh;display:flex;flex-direction:column;align-items:center;justify-content:center;padding:24px 16px;background:var(--page);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:anywhere}
main{width:100%;max-width:440px;padding:32px;background:var(--card);border:1px solid var(--line);border-radius:16px;box-shadow:0 1px 2px rgb(0 0 0/.04),0 12px 32px rgb(0 0 0/.06)}
.brand{display:flex;align-items:center;gap:12px;margin:0 0 24px;font-weight:600;font-size:15px;color:var(--quiet)}
.brand img{height:40px;width:auto;max-width:160px;object-fit:contain;flex:none}
h1{margin:0 0 8px;font-size:22px;line-height:1.3;font-weight:650;letter-spacing:-.01em;text-wrap:balance}
h2{margin:24px 0 8px;font-size:14px;line-height:1.4;font-weight:600;color:var(--quiet)}
p{margin:0 0 12px}
.lead{color:var(--quiet);margin-bottom:20px}
.quiet{color:var(--quiet);font-size:14px}
strong{font-weight:600}
.panel{margin:0 0 16px;padding:14px 16px;border:1px solid var(--line);border-radius:12px;background:var(--soft)}
.panel p{margin:0}
.panel p+p{margin-top:4px}
.row{display:flex;align-items:center;justify-content:space-between;gap:12px}
.row>:first-child{min-width:0}
.row form{flex:none}
.who{font-weight:600}
.badge{display:inline-block;vertical-align:1px;white-space:nowrap;padding:1px 8px;border:1px solid var(--warn-line);border-radius:99px;background:var(--warn);color:var(--warn-text);font-size:12px;line-height:18px;font-weight:600}
.badge.known{white-space:normal;border-color:var(--line);background:var(--card);color:var(--quiet)}
.note{margin:0 0 16px;padding:12px 16px;border:1px solid var(--warn-line);border-radius:12px;background:var(--warn);color:var(--warn-text);font-size:14px}
.note.good{border-color:var(--good-line);background:var(--good);color:var(--good-text)}
.note.bad{border-color:var(--bad-line);background:var(--bad);color:var(--bad-text)}
fieldset{margin:0 0 16px;padding:0;border:0;min-width:0}
legend{margin:0 0 8px;padding:0;font-size:14px;font-weight:600;color:var(--quiet)}
.scope{display:flex;align-items:flex-start;gap:12px;min-height:44px;padding:11px 16px;border:1px solid var(--line);cursor:pointer}
.scope+.scope{border-top:0}
.scope:first-of-type{border-radius:12px 12px 0 0}
.scope:last-of-type{border-radius:0 0 12px 12px}
.scope:first-of-type:last-of-type{border-radius:12px}
.scope input{flex:none;width:20px;height:20px;margin:2px 0 0;accent-color:var(--link)}
.scope small,ul small{display:block;color:var(--quiet);font-size:13px;line-height:1.4}
ul{margin:0 0 16px;padding:0;list-style:none;border:1px solid var(--line);border-radius:12px}
li{padding:11px 16px}
li+li{border-top:1px solid var(--line)}
.apps{border:0;border-radius:0}
.apps>li{padding:16px}
.apps>li+li{border-top:1px solid var(--line)}
.apps>li:last-child{margin-bottom:0}
.apps p+p,.apps .plain-list+p{margin-top:8px}
h2.who{margin:0 0 8px;font-size:16px;color:var(--text);font-weight:600}
.plain-list{margin:4px 0 8px;padding:0 0 0 20px;border:0;border-radius:0;list-style:disc}
.plain-list li{padding:2px 0}
.plain-list li+li{border-top:0}
details{margin-top:4px}
details form{margin-top:12px}
summary{display:flex;align-items:center;min-height:44px;color:var(--link);font-size:14px;text-decoration:underline;text-underline-offset:3px;cursor:pointer}
summary:hover{text-decoration-thickness:2px}
details[open]>summary{margin-bottom:4px}
.danger{border-color:var(--bad-line);background:var(--bad);color:var(--bad-text)}
.danger:hover{background:var(--bad);box-shadow:inset 0 0 0 99px rgb(0 0 0/.06)}
label.field{display:block;margin:0 0 16px;font-size:14px;font-weight:600}
label.field input{display:block;width:100%;min-height:48px;margin-top:6px;padding:10px 14px;border:1px solid var(--field);border-radius:10px;background:var(--card);color:var(--text);font:inherit;font-weight:400;font-size:16px}
.actions{display:grid;grid-template-columns:1fr 1fr;gap:12px;margin-top:24px}
.after{margin-top:12px}
.actions.one{grid-template-columns:1fr}
.actions.flat{margin-top:0}
button,.button{display:flex;align-items:center;justify-content:center;width:100%;min-height:48px;padding:10px 12px;border:1px solid var(--field);border-radius:10px;background:var(--card);color:var(--text);font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}
button:hover,.button:hover{background:var(--soft)}
.primary,.primary:hover{background:var(--accent);border-color:var(--link);color:var(--on-accent)}
.primary:hover{box-shadow:inset 0 0 0 99px rgb(0 0 0/.08)}
.plain{width:auto;min-height:44px;padding:8px 0;border:0;background:none;color:var(--link);font-size:14px;text-decoration:underline;text-underline-offset:3px;flex:none}
.plain:hover{background:none;text-decoration-thickness:2px}
form+form,.button+form,form+.button{margin-top:12px}
.or{display:flex;align-items:center;gap:12px;margin:20px 0;color:var(--quiet);font-size:14px}
.or::before,.or::after{content:"";flex:1;border-top:1px solid var(--line)}
a{color:var(--link)}
.button{color:var(--text)}
a.primary{color:var(--on-accent)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.address{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:13px;direction:ltr;unicode-bidi:isolate}
.from{direction:ltr;unicode-bidi:isolate;font-weight:600}
footer{max-width:440px;margin-top:16px;color:var(--quiet);font-size:13px;text-align:center}
@media (max-width:480px){body{justify-content:flex-start;padding:0;background:var(--card)}main{max-width:none;padding:24px 20px;border:0;border-radius:0;box-shadow:none}footer{padding:0 20px 24px}}
@media (max-width:340px){.actions{grid-template-columns:1fr}}
@media (forced-colors:active){.primary{border:2px solid ButtonText}.danger{border-color:ButtonText}.badge,.note,.panel{border-color:CanvasText}}
@media (prefers-contrast:more){:root{--quiet:var(--text);--line:var(--field)}}
`
