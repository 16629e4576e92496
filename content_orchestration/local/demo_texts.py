# ruff: noqa: RUF001  (other languages use punctuation that looks like ASCII)
"""Words of the demo data: phrase banks in six languages, and how titles, bodies and captions are put together.

Pure text and a repeatable source of choices. Rows, ids, sizes and timestamps belong to `demo_data.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Repeatable choices from a text seed. Uses `random()` alone: the sequence that Python fixes."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311  (a demo's choices, not a secret)

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def chance(self, share: float) -> bool:
        """True in about `share` (0 to 1) of the calls."""
        return self._random.random() < share

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`."""
        return options[self.integer(0, len(options) - 1)]

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different ones of `options`, or all of them where there are fewer, in a drawn products."""
        rest = list(options)
        return [rest.pop(self.integer(0, len(rest) - 1)) for _ in range(min(count, len(rest)))]


@dataclass(frozen=True)
class Language:
    """One language's phrases. `{brand}` and `{product}` stand for names; `space` is what separates sentences."""

    code: str
    titles: tuple[str, ...]
    sentences: tuple[str, ...]
    calls: tuple[str, ...]
    greeting: str
    scene: str
    checklist: str
    space: str = " "


ENGLISH = Language(
    code="en",
    titles=(
        "Five ways to get more from {product}",
        "What our customers taught us about {product}",
        "Behind the scenes: how {brand} makes {product}",
        "{product}: the questions we hear most",
        "Why {product} is our pick of the season",
        "A short guide to {product}",
        "{brand} in numbers: a year of {product}",
        "New this week: {product}",
    ),
    sentences=(
        "Every {product} leaves our hands only after two people have checked it, because one pair of eyes gets tired.",
        "We asked forty customers what they would change about {product}, and we changed the three things they named.",
        "The first batch of {product} sold out in nine days, so this time we planned for three times as many.",
        "Most people find us through a friend, and that is still the kind of advertising we trust the most.",
        "If you have tried {product} before, you will notice the difference within the first five minutes.",
        "Nothing about {product} is complicated, which took us rather a long time to achieve.",
        "Our team wrote down every call about {product} for a month; the answers below are the result.",
        "It costs a little more than the cheapest option, and it lasts about four times as long.",
        "We keep the ingredients, parts and suppliers public, so you can see where {product} comes from.",
        "On busy days the small details decide, and {product} was made for exactly those days.",
        "Returns are free for sixty days, no form and no questions, because we would rather know than guess.",
        "You do not have to choose everything today: start small, and add to it when you know what you need.",
        "Last autumn we moved production closer to home, and delivery is now two days faster on average.",
        "A good product explains itself, but a good team is still there when it does not.",
        "We measured it ourselves, then paid somebody else to measure it again, and the two results agree.",
        "Shops that put {product} next to the till sold twice as many as those that kept it at the back.",
        "There is a version for beginners and one for people who do this every day; both are made on the same line.",
        "“I bought one for me and went back for two more,” says Marta, who runs a studio with eleven people.",
        "Our newsletter readers get {product} a week early, as a thank-you for four years of patient feedback.",
        "The packaging is paper now, all of it, and it still survives a fall from the third shelf.",
        "Next month we are opening the workshop for visitors, and {product} will be there to try.",
        "Whatever you plan for the season, {brand} has somebody who has done it before and likes to talk about it.",
    ),
    calls=("Shop now", "See how it works", "Book a visit", "Get the guide", "Try it for free", "Reserve yours today"),
    greeting="Hello and welcome back,",
    scene="Scene",
    checklist="Checklist",
)

GERMAN = Language(
    code="de",
    titles=(
        "{product}: die häufigsten Fragen",
        "So holen Sie mehr aus {product} heraus",
        "Hinter den Kulissen von {brand}",
        "Warum {product} unser Liebling der Saison ist",
        "Neu bei {brand}: {product}",
    ),
    sentences=(
        "Jedes Stück wird von zwei Menschen geprüft, bevor es unser Haus verlässt.",
        "Wir haben vierzig Kundinnen und Kunden gefragt, was sie an {product} ändern würden – und drei Dinge geändert.",
        "Die erste Lieferung von {product} war nach neun Tagen ausverkauft, jetzt haben wir größer geplant.",
        "Wer {product} schon kennt, merkt den Unterschied in den ersten fünf Minuten.",
        "Es kostet etwas mehr als die günstigste Lösung und hält ungefähr viermal so lang.",
        "Die Verpackung besteht vollständig aus Papier und übersteht trotzdem einen Sturz vom dritten Regal.",
        "Rückgaben sind sechzig Tage lang kostenlos, ohne Formular und ohne Fragen.",
        "Ob Anfänger oder Profi: Für beide gibt es die passende Ausführung aus derselben Werkstatt.",
        "Im nächsten Monat öffnen wir unsere Türen, und {product} kann vor Ort ausprobiert werden.",
        "Bei {brand} arbeitet immer jemand, der das schon einmal gemacht hat und gern davon erzählt.",
    ),
    calls=("Jetzt entdecken", "Mehr erfahren", "Termin vereinbaren", "Kostenlos testen"),
    greeting="Guten Tag und schön, dass Sie da sind,",
    scene="Szene",
    checklist="Checkliste",
)

FRENCH = Language(
    code="fr",
    titles=(
        "{product} : vos questions les plus fréquentes",
        "Dans les coulisses de {brand}",
        "Pourquoi {product} est notre coup de cœur",
        "Le petit guide de {product}",
        "Nouveau chez {brand} : {product}",
    ),
    sentences=(
        "Chaque pièce est vérifiée par deux personnes avant de quitter l’atelier.",
        "Nous avons demandé à quarante clients ce qu’ils changeraient à {product}, et nous avons changé trois choses.",
        "La première série de {product} est partie en neuf jours : cette fois, nous avons prévu plus large.",
        "Si vous connaissez déjà {product}, vous sentirez la différence dès les cinq premières minutes.",
        "Un peu plus cher que l’entrée de gamme, mais environ quatre fois plus durable.",
        "L’emballage est entièrement en papier et résiste même à une chute de la troisième étagère.",
        "Les retours sont gratuits pendant soixante jours, sans formulaire ni justification.",
        "Débutant ou habitué, il existe une version pour vous, fabriquée sur la même ligne.",
        "Le mois prochain, nous ouvrons nos portes et vous pourrez essayer {product} sur place.",
        "Chez {brand}, il y a toujours quelqu’un qui l’a déjà fait et qui aime en parler.",
    ),
    calls=("Découvrir", "En savoir plus", "Prendre rendez-vous", "Essayer gratuitement"),
    greeting="Bonjour à toutes et à tous,",
    scene="Scène",
    checklist="À vérifier",
)

SPANISH = Language(
    code="es",
    titles=(
        "{product}: las preguntas más frecuentes",
        "Cómo sacar más partido a {product}",
        "Así trabaja {brand} por dentro",
        "¿Por qué elegir {product} esta temporada?",
    ),
    sentences=(
        "Dos personas revisan cada pieza antes de que salga de nuestro taller.",
        "Preguntamos a cuarenta clientes qué cambiarían de {product}, y cambiamos las tres cosas que nombraron.",
        "La primera tanda de {product} se agotó en nueve días, así que esta vez hemos previsto el triple.",
        "Si ya conoces {product}, notarás la diferencia en los primeros cinco minutos.",
        "Cuesta un poco más que la opción más barata y dura unas cuatro veces más.",
        "El envase es todo de papel y aun así resiste una caída desde el tercer estante.",
        "Las devoluciones son gratuitas durante sesenta días, sin formularios y sin preguntas.",
        "¿Principiante o profesional? Hay una versión para cada quien, hecha en la misma línea.",
        "El mes que viene abrimos las puertas y podrás probar {product} con calma.",
        "En {brand} siempre hay alguien que ya lo ha hecho antes y a quien le gusta contarlo.",
    ),
    calls=("Descúbrelo", "Más información", "Reserva tu cita", "Pruébalo gratis"),
    greeting="Hola y gracias por leernos,",
    scene="Escena",
    checklist="Lista de control",
)

JAPANESE = Language(
    code="ja",
    titles=(
        "{product}をもっと楽しむために",
        "{product}についてよくあるご質問",
        "{brand}の新しい季節",
        "今週の新着：{product}",
    ),
    sentences=(
        "すべての商品は、出荷前に必ず二人の目で確認しています。",
        "四十名のお客様に{product}について伺い、ご指摘いただいた三つの点を見直しました。",
        "最初に入荷した{product}は九日で完売しましたので、今回は三倍の数をご用意しました。",
        "以前お使いになった方なら、最初の五分で違いを感じていただけるはずです。",
        "少しだけ値段は上がりますが、およそ四倍長くお使いいただけます。",
        "包装はすべて紙に切り替えました。三段目の棚から落としても大丈夫です。",
        "返品は六十日間無料です。書類も理由も必要ありません。",
        "来月には工房を公開し、{product}を実際にお試しいただけます。",
        "{brand}には、経験豊かで話し好きなスタッフがいつもおります。",
    ),
    calls=("詳しく見る", "今すぐ予約", "無料で試す", "ご相談はこちら"),
    greeting="いつもご覧いただきありがとうございます。",
    scene="シーン",
    checklist="確認リスト",
    space="",
)

CHINESE = Language(
    code="zh",
    titles=("{product}使用指南", "关于{product}的常见问题", "走进{brand}", "本周新品：{product}"),
    sentences=(
        "每一件产品出厂之前，都要经过两个人的检查。",
        "我们询问了四十位顾客对{product}的看法，并改进了大家提到的三个地方。",
        "首批{product}九天内全部售完，这一次我们准备了三倍的数量。",
        "如果您以前用过{product}，最初五分钟就能感到不同。",
        "价格比最便宜的选择略高一些，使用寿命却大约是四倍。",
        "包装全部改用纸质材料，从第三层货架掉下来也不会损坏。",
        "六十天内免费退货，不需要表格，也不需要理由。",
        "下个月我们将开放工坊，欢迎到现场体验{product}。",
        "在{brand}，总有一位经验丰富又乐于分享的同事为您解答。",
    ),
    calls=("了解更多", "立即预订", "免费试用"),
    greeting="您好，欢迎回来。",
    scene="场景",
    checklist="核对清单",
    space="",
)

LANGUAGES = {each.code: each for each in (ENGLISH, GERMAN, FRENCH, SPANISH, JAPANESE, CHINESE)}
EMOJI = ("✨", "🎉", "🌿", "☕", "🚚", "📚", "🌸", "💡", "👩🏽‍🔧", "🇯🇵", "❤️", "🏔️")


def title(draw: Draw, language: Language, brand: str, product: str) -> str:
    """A title in `language` that names the brand or the product."""
    return draw.pick(language.titles).format(brand=brand, product=product)


def sentences(draw: Draw, language: Language, brand: str, product: str, count: int) -> str:
    """One paragraph of `count` different sentences."""
    chosen = draw.sample(language.sentences, count)
    return language.space.join(each.format(brand=brand, product=product) for each in chosen)


def body(draw: Draw, language: Language, content_type: str, heading: str, brand: str, products: Sequence[str]) -> str:
    """A Markdown body of 300 to 6,000 UTF-8 bytes in the shape of its content type; `products[0]` leads."""
    closing = f"**{draw.pick(language.calls)}**"
    if content_type in {"post", "image"}:
        mark = f"{draw.pick(EMOJI)} " if draw.chance(0.6) else ""
        text = f"{mark}{sentences(draw, language, brand, products[0], draw.integer(5, 6))}"
        return f"{text}\n\n{closing} #{brand.replace(' ', '')} #{products[0].replace(' ', '')}"
    if content_type == "email":
        parts = [language.greeting, *(sentences(draw, language, brand, each, 4) for each in products[:3])]
        return "\n\n".join([*parts, closing, brand])
    if content_type == "video":
        scenes = [
            f"{language.scene} {number} (0:{number * 12:02d})\n\n> {sentences(draw, language, brand, each, 3)}"
            for number, each in enumerate(products[:4], start=1)
        ]
        return "\n\n".join([f"# {heading}", *scenes, closing])
    if content_type == "document":
        lines = [f"- [ ] {sentences(draw, language, brand, each, 1)}" for each in [*products, *products, *products]]
        lead = sentences(draw, language, brand, products[0], 4)
        return "\n".join([f"# {heading}", "", lead, "", f"## {language.checklist}", "", *lines, "", closing])
    sections = [
        f"## {each[0].upper()}{each[1:]}\n\n{sentences(draw, language, brand, each, draw.integer(4, 8))}"
        for each in products
    ]
    opening = sentences(draw, language, brand, products[0], 3)
    return "\n\n".join([f"# {heading}", opening, *sections[: draw.integer(2, 5)], closing])
