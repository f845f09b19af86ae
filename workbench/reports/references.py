"""What a page refers to: images beside the notebook, which become part of it, and headings that its own links name."""

from __future__ import annotations

import mimetypes
import re
from base64 import b64encode
from html import escape, unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = r"""\b{}\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)"""
_SOURCE, _TEXT = (re.compile(_ATTRIBUTE.format(name), re.IGNORECASE) for name in ("src", "alt"))
_HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>", re.DOTALL)
_LINK = re.compile(r'(<a\b[^>]*?\bhref=")#([^"]+)(")')


def with_images(page: str, folder: Path) -> str:
    """Put images that lie beside the notebook into the page; where another one would be, say so: the page loads nothing."""

    def embed(match: re.Match[str]) -> str:
        tag = match[0]
        found, text = _SOURCE.search(tag), _TEXT.search(tag)
        source = "" if found is None else _value(found)
        if found is None or source.startswith(("data:", "blob:")):
            return tag
        if (content := _content(source, folder)) is not None:
            return f'{tag[: found.start()]}src="{content}"{tag[found.end() :]}'
        name = source if text is None or not _value(text) else f"{_value(text)} ({source})"
        said = f"Image not shown: {name}. The page loads nothing; it takes in images in files that the notebook names by relative paths."
        return f"<em>{escape(said)}</em>"

    return _IMAGE.sub(embed, page)


def with_links(page: str) -> str:
    """Name all headings, and let the links that name one in JupyterLab's or GitHub's way lead there.

    Headings are named by numbers: a name that comes from their text might be one that the page's scripts look for.
    """
    names: dict[str, str] = {}
    counts = {"section": 0, "heading": 0}

    def name(match: re.Match[str]) -> str:
        kind = "section" if match[1] == "2" else "heading"
        counts[kind] += 1
        own = f"{kind}-{counts[kind]}"
        names.setdefault(_plain(re.sub(r"<[^>]*>", "", match[2])), own)
        return f'<h{match[1]} id="{own}">{match[2]}</h{match[1]}>'

    def lead(match: re.Match[str]) -> str:
        named = unescape(match[2])
        if f'id="{escape(named)}"' in page:
            return match[0]
        own = names.get(_plain(unquote(named)))
        return match[0] if own is None else f"{match[1]}#{own}{match[3]}"

    return _LINK.sub(lead, _HEADING.sub(name, page))


def _value(attribute: re.Match[str]) -> str:
    return unescape(attribute[1].strip("\"'"))


def _content(source: str, folder: Path) -> str | None:
    """Return an image in a file as the address that holds it; None if it is elsewhere, or is none."""
    parts = urlsplit(source)
    kind, _ = mimetypes.guess_type(parts.path)
    if parts.scheme or parts.netloc or parts.path.startswith("/") or kind is None or not kind.startswith("image/"):
        return None
    try:
        return f"data:{kind};base64,{b64encode((folder / unquote(parts.path)).read_bytes()).decode()}"
    except (OSError, ValueError):
        return None


def _plain(text: str) -> str:
    """Return what is the same in a heading and in a link to it: its letters and digits."""
    return "".join(one for one in unescape(text).casefold() if one.isalnum())
