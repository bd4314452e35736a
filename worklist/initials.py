"""A name as far as a stranger with a printed report may see it."""

from __future__ import annotations

from worklist.orders import shown_name


def initials_of(name: str) -> str:
    """`Zhang^San=张三` → `Z.S.`; empty for a nameless patient."""
    from pypinyin import Style, lazy_pinyin  # slow to import: not at every start

    shown = shown_name(name)
    letters = [word[:1].upper() for word in lazy_pinyin(shown, style=Style.NORMAL) if word.strip()]
    if shown.isascii():
        letters = [word[:1].upper() for word in shown.split()]
    return "".join(f"{letter}." for letter in letters)
