"""Builds HTML in which nothing is forgotten to be escaped: text is escaped unless it is markup already."""

from html import escape


class Markup(str):
    """HTML that is safe to stand in a page as it is."""

    __slots__ = ()


def element(name: str, *children: str | None, **attributes: str | int | float | None) -> Markup:
    """Return `<name ...>children</name>`.

    Args:
      children: Markup stands as it is, other text is escaped, None is left out.
      attributes: `class_` says `class`, `data_kind` says `data-kind`; values are escaped, None is left out.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{said}>{joined(*children)}</{name}>")


def joined(*children: str | None) -> Markup:
    """Return the children one after the other, each escaped unless it is markup."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children if child))
