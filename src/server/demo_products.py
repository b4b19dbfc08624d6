"""The demo's products service: the shop's pages and pictures, its search, a streamed download, and what it was sent."""

from __future__ import annotations

import json

from .demo_backends import Asked, Reply, Sessions, status_line
from .demo_catalogue import PRODUCTS, Product, picture, price_history, search
from .demo_pages import Html, fill, join, page, table

TOLD_BY_THE_PROXY = frozenset(
    {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-request-id", "forwarded", "via"}
)
SECRETS = frozenset({"cookie", "authorization"})

_HOME = """<section class="hero"><div>
<h1>{greeting}</h1>
<p class="lead">Windlasses, ropes and lamps for people who travel at walking pace. This shop is a demonstration: it
sells nothing, but every page has come to you encrypted, through lockgate.</p>
<p><a class="button" href="#products">See the shelves</a></p></div>
<img src="/pictures/lock.svg" width="640" height="440"
 alt="A red boat waits in front of closed lock gates, below a cottage">
</section>
<h2 id="products">On the shelves</h2>{products}
<h2>For the accountants</h2>
<p>What everything has cost, on every day: <a href="/price-history.csv" download>price history (CSV, some MB)</a>. The
backend makes it while it is sent.</p>"""

_CARD = """<li class="card"><a href="/products/{slug}"><img src="/pictures/{slug}.svg" alt="" width="320" height="220">
<div><strong>{name}</strong><span class="soft">{blurb}</span><br><span class="price">{price}</span></div></a></li>"""

_PRODUCT = """<p><a href="/">All products</a></p>
<article class="product"><img src="/pictures/{slug}.svg" alt="{name}" width="320" height="220">
<div><h1>{name}</h1><p class="lead">{blurb}</p><p class="price">{price}</p><p>{text}</p>{facts}</div></article>"""

_REQUEST = """<h1>Your request, as this backend got it</h1>
<p class="lead">It came from {peer}, which is lockgate, in plain HTTP. The marked fields are lockgate's: they say who
asked, and how.</p>
<p><code>{line}</code></p>{headers}
<p class="soft">Cookies are not shown. The same as JSON: <a href="/request.json">/request.json</a></p>"""


class Products:
    """Everything that is not the auth service's."""

    name = "products"

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def answer(self, asked: Asked) -> Reply:
        """The answer to a request."""
        if asked.method != "GET":
            reply = self._message(asked, 405, "This shop is for looking only")
            reply.headers.append(("Allow", "GET, HEAD"))
            return reply
        match asked.path.split("/")[1:]:
            case [""]:
                return self._home(asked)
            case ["products", slug] if slug in PRODUCTS:
                return self._product(asked, PRODUCTS[slug])
            case ["pictures", file] if file.endswith(".svg") and (svg := picture(file.removesuffix(".svg"))):
                return Reply(200, svg, "image/svg+xml", [("Cache-Control", "public, max-age=3600")])
            case ["search"]:
                return self._search(asked)
            case ["price-history.csv"]:
                attachment = ("Content-Disposition", 'attachment; filename="price-history.csv"')
                return Reply(200, price_history(), "text/csv; charset=utf-8", [attachment])
            case ["request"]:
                return self._request(asked)
            case ["request.json"]:
                body = json.dumps({"peer": asked.peer, "line": asked.line, "headers": _shown(asked)}, indent=2)
                return Reply(200, body.encode() + b"\n", "application/json", [("Cache-Control", "no-store")])
        return self._message(asked, 404, "That is not on our shelves")

    def _home(self, asked: Asked) -> Reply:
        user = self._sessions.user(asked)
        greeting = f"Good to see you, {user}" if user else "Everything for the next lock"
        return self._page(asked, "Shop", fill(_HOME, greeting=greeting, products=_cards(list(PRODUCTS.values()))))

    def _product(self, asked: Asked, product: Product) -> Reply:
        content = fill(
            _PRODUCT,
            slug=product.slug,
            name=product.name,
            blurb=product.blurb,
            price=product.price,
            text=product.text,
            facts=table(product.facts),
        )
        return self._page(asked, product.name, content)

    def _search(self, asked: Asked) -> Reply:
        words = asked.query.get("q", "").strip()[:100]
        found = search(words)
        count = "1 product" if len(found) == 1 else f"{len(found)} products"
        content = fill(
            "<h1>{count} for “{words}”</h1>{cards}" if words else "<h1>All {count}</h1>{cards}",
            count=count,
            words=words,
            cards=_cards(found) if found else Html('<p class="lead">Try “rope”, “steel” or “night”.</p>'),
        )
        return self._page(asked, "Search", content, query=words)

    def _request(self, asked: Asked) -> Reply:
        content = fill(
            _REQUEST,
            peer=asked.peer,
            line=asked.line,
            headers=table(_shown(asked), marked=TOLD_BY_THE_PROXY, code=True),
        )
        return self._page(asked, "Your request", content)

    def _message(self, asked: Asked, status: int, text: str) -> Reply:
        content = fill(
            '<h1>{text}</h1><p class="lead">{status}</p><p><a class="button" href="/">To the shop</a></p>',
            text=text,
            status=status_line(status),
        )
        return self._page(asked, text, content, status=status)

    def _page(self, asked: Asked, title: str, content: Html, *, status: int = 200, query: str = "") -> Reply:
        user = self._sessions.user(asked)
        body = page(title, content, backend=self.name, path=asked.path, user=user, query=query)
        # The name of who is signed in stands on every page.
        return Reply(status, body, headers=[("Cache-Control", "no-store")])


def _cards(products: list[Product]) -> Html:
    return fill(
        '<ul class="grid">{cards}</ul>',
        cards=join(fill(_CARD, slug=one.slug, name=one.name, blurb=one.blurb, price=one.price) for one in products),
    )


def _shown(asked: Asked) -> list[tuple[str, str]]:
    """The header fields, without secrets: a page may end up in a screenshot."""
    return [(name, "(not shown)" if name.lower() in SECRETS else value) for name, value in asked.headers]
