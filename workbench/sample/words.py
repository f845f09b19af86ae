"""Names, places and sentences, in several scripts: text that an export must bring through unchanged."""

from __future__ import annotations

import random
import unicodedata
from decimal import Decimal

FIRST_NAMES = (
    "Ada", "Zoë", "Łukasz", "Søren", "José", "Nguyễn", "Мария", "Åsa", "Émile", "Grace", "Linus", "Ayşe", "Björk", "Chloé",
    "Dvořák", "Ελένη", "Farid", "Gül", "Håkon", "Inês", "Jürgen", "Κώστας", "Lucía", "Małgorzata", "Noor", "Ōki", "Priya",
    "Quentin", "Renée", "Siân", "Tomáš", "Ülle", "Valérie", "Wang", "Xóchitl", "Yuki", "Željko", "李娜", "محمد", "さくら",
)  # fmt: skip
LAST_NAMES = (
    "Lovelace", "Müller", "Kowalski", "Nielsen", "García", "Văn", "Иванова", "Lindström", "Dupont", "Hopper", "O'Neill",
    "Öztürk", "Guðmundsdóttir", "Novák", "Παπαδοπούλου", "Rahimi", "Hansen", "Gonçalves", "Weiß", "Papadakis", "Nowak",
    "Tanaka", "Sharma", "Leclerc", "Evans", "Černý", "Tamm", "Zhang", "Horvat", "王", "الحسن", "高橋",
)  # fmt: skip
CITIES = (
    ("Bremen", "DE"), ("Köln", "DE"), ("Łódź", "PL"), ("København", "DK"), ("São Paulo", "BR"), ("Zürich", "CH"),
    ("Malmö", "SE"), ("Athína", "GR"), ("İzmir", "TR"), ("Lyon", "FR"), ("Reykjavík", "IS"), ("東京", "JP"), ("北京", "CN"),
    ("Đà Nẵng", "VN"), ("Dublin", "IE"), ("México", "MX"), ("Київ", "UA"), ("Tallinn", "EE"), ("Pune", "IN"), ("القاهرة", "EG"),
)  # fmt: skip
TOPICS = ("release", "on call", "coffee", "garden", "Rust & Python", "books", "climbing", "music", "maps", "naïve questions")
_FRAGMENTS = (
    "the build is green again", "and I think", "we should ship it before lunch", "because", "nobody likes Friday deploys",
    "does anyone know why", "größer", "über die façade", "naïve 注意", "спасибо", "done", 'see "quotes"', "back\\slash", "tab\there",
    "👍", "🎉", "👩\u200d💻", "e\u0301t\u00e9", "maybe later", "ok", "yes", "no", "left or right", "this projection", "one stream",
    "a replay from the snapshot", "cursor", "at the café", "thanks", "merci", "danke", "ありがとう", "what about tomorrow?", "+1",
    "I cannot reproduce that here", "which revision is that?", "it works on my machine", "the export ran twice", "line one\nline two",
)  # fmt: skip
PLANS = (("free", Decimal(0)), ("plus", Decimal("4.90")), ("team", Decimal("19.90")), ("business", Decimal("149.00")))


class Words:
    """A seeded source of names and sentences."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def name(self) -> str:
        name = f"{self._rng.choice(FIRST_NAMES)} {self._rng.choice(LAST_NAMES)}"
        # Some keyboards send letters and accents apart: the same name to the eye, other bytes.
        return unicodedata.normalize("NFD", name) if self._rng.random() < 0.02 else name

    def city(self) -> tuple[str, str]:
        return self._rng.choice(CITIES)

    def sentence(self) -> str:
        count = 1 + int(self._rng.random() * self._rng.random() * 12)
        return " ".join(self._rng.choices(_FRAGMENTS, k=count))

    def title(self) -> str:
        return f"{self._rng.choice(TOPICS)} {self._rng.randrange(1, 1000)}"


def email_of(name: str, number: int) -> str:
    """Return an address in ASCII that no other number has."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    local = ".".join("".join(filter(str.isalpha, part)) for part in ascii_name.split())
    return f"{local.strip('.') or 'user'}.{number}@example.org"
