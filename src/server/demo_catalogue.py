"""What the demo's shop sells: products, their pictures (SVG, drawn here), and a long price history to download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True)
class Product:
    """One thing in the shop. `cents` is the price; `facts` are shown in a table."""

    slug: str
    name: str
    cents: int
    blurb: str
    text: str
    facts: tuple[tuple[str, str], ...]

    @property
    def price(self) -> str:
        """As people write it."""
        return f"€ {self.cents // 100}.{self.cents % 100:02d}"


PRODUCTS = {
    product.slug: product
    for product in (
        Product(
            "windlass", "Windlass", 2450, "Opens every paddle on the cut",
            "Forged in one piece, with a handle that turns freely so that your palms do not have to. "
            "The two square sockets fit the spindles you will meet between here and the sea.",
            (("Steel", "drop forged, galvanised"), ("Sockets", "25 mm and 32 mm"), ("Weight", "1.1 kg")),
        ),
        Product(
            "rope", "Mooring rope", 1890, "Ten metres, spliced by hand",
            "Three strands of soft polyester with an eye at one end. It holds a boat in a filling lock and is kind "
            "to cold hands afterwards.",
            (("Length", "10 m"), ("Thickness", "14 mm"), ("Breaking load", "3.4 t")),
        ),
        Product(
            "lamp", "Tunnel lamp", 6400, "For the mile and a half without daylight",
            "A brass lamp with a wide, soft beam: bright enough to see the walls, gentle enough for whoever comes "
            "the other way.",
            (("Body", "polished brass"), ("Light", "LED, 9 W, warm white"), ("Supply", "12 V")),
        ),
        Product(
            "fender", "Rope fender", 3275, "Keeps paint on the boat",
            "Woven from old mooring rope around a cork heart. Hang it where the lock wall is rough, take it in "
            "before the lock is narrow.",
            (("Length", "40 cm"), ("Core", "cork"), ("Made in", "the loft above the shop")),
        ),
        Product(
            "buoy", "Life ring", 4150, "Hoped never to be used",
            "A ring with thirty metres of floating line, for the lock side or the cabin roof. Reflective bands make "
            "it easy to find at night.",
            (("Diameter", "60 cm"), ("Line", "30 m, floating"), ("Mass", "2.5 kg")),
        ),
        Product(
            "kettle", "Painted kettle", 5800, "Roses and castles, two litres",
            "Enamelled steel, painted by hand in the way of the working boats, and quick to boil on a small stove.",
            (("Holds", "2 l"), ("Finish", "enamel, hand painted"), ("Stove", "gas, solid fuel, induction")),
        ),
        Product(
            "chart", "Waterways chart", 1200, "Every lock, bridge and tap",
            "The whole network on one sheet that survives rain, with lock dimensions, opening hours and the good "
            "bakeries.",
            (("Scale", "1 : 250 000"), ("Size", "96 x 68 cm"), ("Paper", "waterproof")),
        ),
        Product(
            "pins", "Mooring pins", 1650, "A pair, with safety caps",
            "Where the bank has no bollards. The collar stops the rope from riding up, the cap stops you from "
            "finding the pin with your shin.",
            (("Length", "45 cm"), ("Steel", "galvanised"), ("In the pack", "2 pins, 2 caps")),
        ),
        Product(
            "bell", "Brass bell", 7350, "Heard round the next bend",
            "Cast, turned and polished, with a lanyard that takes a splice well. One long ring before a blind "
            "corner is good manners.",
            (("Diameter", "15 cm"), ("Metal", "brass"), ("Lanyard", "cotton")),
        ),
    )
}  # fmt: skip


def search(words: str) -> list[Product]:
    """Products whose texts have every one of the words in them, whatever the case; all of them for no words."""
    wanted = words.casefold().split()
    return [
        product
        for product in PRODUCTS.values()
        if all(
            word in " ".join((product.name, product.blurb, product.text, *map(" ".join, product.facts))).casefold()
            for word in wanted
        )
    ]


FIRST_DAY = date(1994, 1, 1)
HISTORY_DAYS = 10_000


def price_history() -> Iterator[bytes]:
    """The CSV of what everything cost on every day, some MB, made while it is sent; the same each time."""
    yield b"date,product,price,stock\n"
    for start in range(0, HISTORY_DAYS, 50):
        rows = []
        for number in range(start, start + 50):
            day = FIRST_DAY + timedelta(days=number)
            for index, product in enumerate(PRODUCTS.values()):
                # Prices have come up from half; the stock is what a small shop's stock is.
                cents = product.cents * (HISTORY_DAYS + number) // (2 * HISTORY_DAYS)
                stock = (number * 7 + index * 13) % 40
                rows.append(f"{day},{product.slug},{cents // 100}.{cents % 100:02d},{stock}\n")
        yield "".join(rows).encode()


def picture(name: str) -> bytes | None:
    """An SVG or None: of a product by its slug, `mark` (the sign of the shop), `lock` (the scene on the first page)."""
    drawing = _DRAWINGS.get(name)
    if drawing is None:
        return None
    width, height, shapes = drawing
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'fill="none" stroke-linecap="round" stroke-linejoin="round">{shapes}</svg>\n'
    ).encode()


def _still(ground: str, shadow: int, shapes: str) -> tuple[int, int, str]:
    """The picture of a product: 320 x 220, on a ground of one colour, with a shadow of half that width below it."""
    return (
        320,
        220,
        f'<rect width="320" height="220" fill="{ground}"/><circle cx="160" cy="104" r="84" fill="#fff" opacity=".38"/>'
        f'<ellipse cx="160" cy="190" rx="{shadow}" ry="7" fill="#1a2523" opacity=".16"/>{shapes}',
    )


_INK = "#22312e"
_BRASS = "#d9a53a"

_DRAWINGS = {
    "mark": (
        64, 64,
        '<rect width="64" height="64" rx="14" fill="#0d5f56"/>'
        '<path d="M14 16v32M50 16v32" stroke="#f6f4ee" stroke-width="6"/>'
        '<path d="M14 24l18 10 18-10M14 38l18 10 18-10" stroke="#f2c14e" stroke-width="6"/>',
    ),
    "lock": (
        640, 440,
        '<rect width="640" height="440" fill="#cfe6ea"/>'
        '<circle cx="112" cy="92" r="38" fill="#f7dc8b"/>'
        '<path d="M0 190q120-80 260-20t240-30 140 30v120H0z" fill="#9cc4a4"/>'
        '<path d="M0 226q160-56 330-10t310-22v100H0z" fill="#7db08a"/>'
        # A tree, and the lock keeper's cottage
        '<circle cx="300" cy="168" r="32" fill="#5f9a70"/><path d="M300 172v72" stroke="#6b4a32" stroke-width="8"/>'
        '<g transform="translate(446 0)"><path d="M76 166h104v76H76z" fill="#fbf7ee"/>'
        '<path d="M64 170l64-48 64 48z" fill="#a3483a"/>'
        '<path d="M96 200h22v42H96zM138 190h24v22h-24z" fill="#44605d"/></g>'
        # Banks and water: the level is higher on the left of the gates
        '<path d="M0 242h640v198H0z" fill="#b9a68a"/>'
        '<path d="M0 268h356v172H0z" fill="#3d8f96"/><path d="M356 330h284v110H356z" fill="#2f7780"/>'
        '<path d="M356 268h284v62H356z" fill="#97846a"/>'
        '<path d="M376 288h60M470 288h70M576 288h50M360 308h52M446 308h66M548 308h70" stroke="#7c6b54" '
        'stroke-width="4"/>'
        '<path d="M30 300h70M150 328h90M40 366h60M200 396h80M400 372h60M500 402h80M560 352h40" stroke="#fff" '
        'stroke-width="4" opacity=".35"/>'
        # The gates, with their white balance beam
        '<path d="M340 214h30v200h-30z" fill="#22312e"/><path d="M340 250h30M340 290h30M340 340h30" stroke="#4a5f5a" '
        'stroke-width="5"/><path d="M326 206h176v16H326z" fill="#22312e"/><path d="M446 206h56v16h-56z" fill="#fff"/>'
        '<path d="M355 206v-40M343 166h24" stroke="#22312e" stroke-width="7"/>'
        # A narrowboat
        '<path d="M28 262h262l22-26v44q-8 18-30 18H52q-22 0-24-36z" fill="#8c2f2b"/>'
        '<path d="M60 218h192v46H60z" fill="#0d5f56"/><path d="M50 208h212v12H50z" fill="#f2c14e"/>'
        '<circle cx="92" cy="241" r="11" fill="#cfe6ea"/><circle cx="136" cy="241" r="11" fill="#cfe6ea"/>'
        '<path d="M170 228h60v24h-60z" fill="#f6f4ee"/><path d="M180 240h40" stroke="#8c2f2b" stroke-width="5"/>'
        '<path d="M112 208v-22" stroke="#22312e" stroke-width="12"/>'
        '<path d="M116 172q8-14-2-24" stroke="#fff" stroke-width="7" opacity=".8"/>',
    ),
    "windlass": _still("#d6e4df", 84,
        f'<path d="M86 76l42 0 62 74" stroke="{_INK}" stroke-width="17"/>'
        f'<path d="M190 150h54" stroke="{_INK}" stroke-width="10"/>'
        '<path d="M202 150h42" stroke="#b5713d" stroke-width="22"/>'
        f'<rect x="64" y="54" width="44" height="44" rx="9" fill="{_INK}"/>'
        '<rect x="75" y="65" width="22" height="22" fill="#d6e4df"/>'
        '<path d="M112 70h14l56 66" stroke="#fff" stroke-width="3" opacity=".4"/>'),
    "rope": _still("#efe3cf", 92,
        '<g stroke="#2f6fa3" stroke-width="17"><ellipse cx="160" cy="160" rx="80" ry="22"/>'
        '<ellipse cx="160" cy="138" rx="76" ry="21"/><ellipse cx="160" cy="116" rx="72" ry="20"/>'
        '<ellipse cx="160" cy="94" rx="68" ry="19"/></g>'
        '<g stroke="#9cc6e6" stroke-width="3" stroke-dasharray="7 9"><ellipse cx="160" cy="160" rx="80" ry="22"/>'
        '<ellipse cx="160" cy="138" rx="76" ry="21"/><ellipse cx="160" cy="116" rx="72" ry="20"/>'
        '<ellipse cx="160" cy="94" rx="68" ry="19"/></g>'
        '<path d="M222 88q40-14 44-40t-24-20-12 32" stroke="#2f6fa3" stroke-width="13"/>'
        '<path d="M222 88q40-14 44-40t-24-20-12 32" stroke="#9cc6e6" stroke-width="3" stroke-dasharray="7 9"/>'),
    "lamp": _still("#2f4744", 58,
        '<path d="M150 96L20 30v150z" fill="#f7dc8b" opacity=".35"/><path d="M150 100L20 66v78z" fill="#fff3c9" '
        'opacity=".5"/>'
        f'<path d="M140 58q-14 46 0 92l70-18V76z" fill="{_BRASS}"/><ellipse cx="142" cy="104" rx="15" ry="46" '
        'fill="#fff3c9"/><path d="M210 84h22v40h-22z" fill="#b07f22"/>'
        f'<path d="M182 138v34M150 178h64" stroke="{_BRASS}" stroke-width="12"/>'
        '<path d="M162 74l40 8" stroke="#fff" stroke-width="5" opacity=".6"/>'),
    "fender": _still("#dfe0ea", 44,
        '<path d="M160 20v36" stroke="#8b6b3e" stroke-width="9"/><circle cx="160" cy="22" r="11" stroke="#8b6b3e" '
        'stroke-width="7"/><rect x="122" y="50" width="76" height="132" rx="36" fill="#c69c5d"/>'
        '<g stroke="#8b6b3e" stroke-width="5"><path d="M126 76l68 40M122 104l76 44M122 134l66 38M150 52l46 28"/>'
        '<path d="M194 76l-68 40M198 104l-76 44M198 134l-66 38M170 52l-46 28"/></g>'),
    "buoy": _still("#cfe3ec", 76,
        '<circle cx="160" cy="104" r="58" stroke="#d4482f" stroke-width="38"/>'
        '<g stroke="#fffefb" stroke-width="38" stroke-linecap="butt"><path d="M146 46h28M146 162h28"/>'
        '<path d="M102 90v28M218 90v28"/></g>'
        '<circle cx="160" cy="104" r="81" stroke="#8b6b3e" stroke-width="4" stroke-dasharray="60 6"/>'),
    "kettle": _still("#f3dcd3", 74,
        '<path d="M112 84q48-74 96 0" stroke="#22312e" stroke-width="11"/>'
        '<path d="M98 104L56 78l-8 12 40 54z" fill="#a3291f"/>'
        '<path d="M106 84h108q34 60 12 100H94q-22-40 12-100z" fill="#a3291f"/>'
        '<path d="M112 84q48-22 96 0z" fill="#7c1d16"/><circle cx="160" cy="70" r="7" fill="#f2c14e"/>'
        '<path d="M88 158h144M92 172h136" stroke="#f2c14e" stroke-width="5"/>'
        '<g fill="#fffefb"><circle cx="160" cy="116" r="8"/><circle cx="176" cy="124" r="8"/>'
        '<circle cx="170" cy="142" r="8"/><circle cx="150" cy="142" r="8"/><circle cx="144" cy="124" r="8"/></g>'
        '<circle cx="160" cy="130" r="8" fill="#f2c14e"/>'
        '<path d="M120 128q10-14 16 0-8 8-16 0zM184 128q10-14 16 0-8 8-16 0z" fill="#4f9a6a"/>'),
    "chart": _still("#dce7d3", 98,
        '<path d="M62 52l66-16 64 16 66-16v132l-66 16-64-16-66 16z" fill="#fbf7ee"/>'
        '<path d="M128 36v132M192 52v132" stroke="#cfc6b2" stroke-width="4"/>'
        '<path d="M70 146q40-8 52-34t44-20 34 26 54-4" stroke="#3d8f96" stroke-width="8"/>'
        '<path d="M150 92q-2-24 14-38" stroke="#3d8f96" stroke-width="5"/>'
        '<path d="M100 122l14 12M176 94l8-14M222 110v16" stroke="#a3291f" stroke-width="5"/>'
        '<circle cx="84" cy="80" r="13" stroke="#22312e" stroke-width="3"/><path d="M84 64v32M68 80h32" '
        'stroke="#22312e" stroke-width="3"/>'),
    "pins": _still("#e5dccf", 66,
        '<g stroke="#6d7f7b" stroke-width="14"><path d="M128 56l-16 120M192 56l16 120"/></g>'
        '<g stroke="#fff" stroke-width="3" opacity=".5"><path d="M126 70l-12 92M190 70l12 92"/></g>'
        '<g stroke="#4c5c58" stroke-width="12"><path d="M108 92l34 5M178 97l34-5"/></g>'
        '<g fill="#e0662f"><circle cx="129" cy="48" r="21"/><circle cx="191" cy="48" r="21"/></g>'
        '<g fill="#fff" opacity=".4"><circle cx="122" cy="41" r="6"/><circle cx="184" cy="41" r="6"/></g>'),
    "bell": _still("#d9dfe8", 66,
        f'<path d="M160 22v22" stroke="{_INK}" stroke-width="9"/><circle cx="160" cy="150" r="15" fill="{_INK}"/>'
        f'<path d="M160 40q46 0 48 56 2 34 22 50H90q20-16 22-50 2-56 48-56z" fill="{_BRASS}"/>'
        '<path d="M88 146h144" stroke="#b07f22" stroke-width="13"/>'
        '<path d="M136 62q-10 14-10 42" stroke="#fff" stroke-width="8" opacity=".6"/>'
        '<path d="M160 164v24" stroke="#8c2f2b" stroke-width="6"/>'),
}  # fmt: skip
