"""How the demo's pages look: one layout, one stylesheet, and templates that escape whatever is not `Html`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def fill(template: str, /, **values: object) -> Html:
    """`template` with each `{name}` replaced; what is not `Html` is escaped, for text and for quoted attributes."""
    return Html(
        template.format_map(
            {name: value if isinstance(value, Html) else escape(str(value)) for name, value in values.items()}
        )
    )


def join(parts: Iterable[Html]) -> Html:
    """Pieces of markup, one after another."""
    return Html("".join(parts))


STYLE = Html("""
:root{color-scheme:light dark;--ink:#1a2523;--paper:#f6f4ee;--card:#fffefb;--line:#dcd7ca;--soft:#5a6764;
--accent:#0d5f56;--strong:#0a4a43;--on:#fff;--tint:#e4eee9;--bad:#a3291f}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebe8;--paper:#111716;--card:#19211f;--line:#2e3a37;--soft:#9dada8;
--accent:#63c7b7;--strong:#8adccf;--on:#06201c;--tint:#1c2a27;--bad:#ff9a8f}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:17px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif;display:flex;flex-direction:column;min-height:100vh}
h1,h2,.brand{font-family:Georgia,"Times New Roman","DejaVu Serif",serif;line-height:1.2;font-weight:700}
h1{font-size:2.1rem;margin:0 0 .6rem;overflow-wrap:anywhere}h2{font-size:1.3rem;margin:2.2rem 0 .9rem}p{margin:.6rem 0}
a{color:var(--accent)}a:hover{color:var(--strong)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.wide{width:100%;max-width:68rem;margin:0 auto;padding:0 1.4rem}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:1rem;background:var(--card);padding:.4rem .8rem;z-index:1}
header{background:var(--card);border-bottom:1px solid var(--line)}
header .wide{display:flex;flex-wrap:wrap;align-items:center;gap:.7rem 1.6rem;padding-top:.8rem;padding-bottom:.8rem}
.brand{display:flex;align-items:center;gap:.6rem;font-size:1.2rem;color:var(--ink);text-decoration:none}
nav{display:flex;align-items:center;gap:1.2rem;font-size:.95rem}nav a{text-decoration:none}
nav a[aria-current]{color:var(--ink);font-weight:600}
.search{display:flex;gap:.5rem;margin-left:auto}
input{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:.5rem;
padding:.4rem .8rem;min-width:0}
button,.button{font:inherit;font-weight:600;color:var(--on);background:var(--accent);border:0;border-radius:.5rem;
padding:.45rem 1.1rem;cursor:pointer;text-decoration:none;display:inline-block}
button:hover,.button:hover{background:var(--strong);color:var(--on)}
main{flex:1;padding-top:2.2rem!important;padding-bottom:3rem!important}
.lead{font-size:1.12rem;color:var(--soft);max-width:36rem}.soft{color:var(--soft)}
.hero{display:grid;grid-template-columns:1fr 1fr;gap:2.4rem;align-items:center}
.hero img,.product img{width:100%;height:auto;display:block;border-radius:.9rem;border:1px solid var(--line)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1.4rem;list-style:none;margin:0;padding:0}
.card{background:var(--card);border:1px solid var(--line);border-radius:.9rem;overflow:hidden}
.card a{display:block;color:inherit;text-decoration:none}.card:hover{border-color:var(--accent)}
.card img{width:100%;height:auto;display:block}
.card div{padding:.8rem 1rem 1rem}.card strong{display:block}
.price{font-variant-numeric:tabular-nums;color:var(--accent);font-weight:600}
.product{display:grid;grid-template-columns:1.1fr 1fr;gap:2.4rem}
.narrow{max-width:26rem;margin:1.5rem auto;padding:1.8rem;background:var(--card);border:1px solid var(--line);
border-radius:.9rem}
.narrow label{display:block;margin:1rem 0 .3rem;font-weight:600}.narrow input{width:100%}
.narrow button{margin-top:1.4rem}
.error{color:var(--bad);font-weight:600}
.table{overflow-x:auto;border:1px solid var(--line);border-radius:.9rem;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:.93rem}
th,td{text-align:left;vertical-align:top;padding:.5rem 1rem;border-bottom:1px solid var(--line)}
tr:last-child>*{border-bottom:0}th{font-weight:600;white-space:nowrap}td{overflow-wrap:anywhere}
code,td.code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.9em}
tr.ours{background:var(--tint)}tr.ours th{box-shadow:inset 4px 0 var(--accent)}
h1+.grid{margin-top:1.4rem}
footer{border-top:1px solid var(--line);color:var(--soft);font-size:.9rem;padding:1.1rem 0}
@media(max-width:46rem){.hero,.product{grid-template-columns:1fr}h1{font-size:1.7rem}.search{margin-left:0;width:100%}
.search input{flex:1}}
""")

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
SECURITY_FIELDS = (
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
)
"""Go with every answer. The stylesheet is allowed by its hash, and nothing else that is inline."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title} - Paddle &amp; Gate</title>
<link rel="icon" href="/pictures/mark.svg" type="image/svg+xml">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header><div class="wide">
<a class="brand" href="/"><img src="/pictures/mark.svg" alt="" width="34" height="34">Paddle &amp; Gate</a>
<nav aria-label="Main">{links}</nav>
<form class="search" action="/search" role="search"><input type="search" name="q" value="{query}" maxlength="100"
 aria-label="Search the shop" placeholder="Rope, lamp, windlass ..."><button>Search</button></form>
</div></header>
<main id="content" class="wide">{content}</main>
<footer><div class="wide">From the <strong>{backend}</strong> backend, in plain HTTP as far as lockgate, and encrypted
from there to you.</div></footer>
</body>
</html>
"""


def page(title: str, content: Html, *, backend: str, path: str, user: str | None, query: str = "") -> bytes:
    """A whole page. `path` is where we are, for the navigation; `query` what stands in the search field."""
    account = ("/account", user) if user else ("/login", "Sign in")
    links = join(
        fill(
            '<a href="{target}"{here}>{label}</a>',
            target=target,
            label=label,
            here=Html(' aria-current="page"' if target == path else ""),
        )
        for target, label in (("/", "Shop"), ("/request", "Your request"), account)
    )
    return fill(_PAGE, title=title, style=STYLE, links=links, query=query, content=content, backend=backend).encode()


def table(rows: Iterable[tuple[str, str]], *, marked: Iterable[str] = (), code: bool = False) -> Html:
    """Two columns, name and value. Rows whose name is in `marked` stand out."""
    marked = frozenset(marked)
    return fill(
        '<div class="table"><table>{rows}</table></div>',
        rows=join(
            fill(
                '<tr{ours}><th scope="row">{name}</th><td{code}>{value}</td></tr>',
                ours=Html(' class="ours"' if name.lower() in marked else ""),
                code=Html(' class="code"' if code else ""),
                name=name,
                value=value,
            )
            for name, value in rows
        ),
    )
