"""The pages on what may be found about accesses: what it means, an example, and ways out."""

from __future__ import annotations

import re


def page(code: str) -> str | None:
    """Return the page on a code, in Markdown; None if there is none.

    Examples
    --------
    >>> from ferroflow.define.explaining import page
    >>> page("FF0499").splitlines()[0]
    '# FF0499: two steps write one asset'
    """
    from importlib import resources

    if not re.fullmatch(r"FF\d{4}", code):
        return None
    found = resources.files("ferroflow.define").joinpath("explanations", f"{code}.md")
    return found.read_text(encoding="utf-8") if found.is_file() else None


def titles() -> dict[str, str]:
    """Return what there are pages on, by their codes.

    Examples
    --------
    >>> from ferroflow.define.explaining import titles
    >>> titles()["FF0382"]
    'an asset is used after it was moved'
    """
    from importlib import resources

    folder = resources.files("ferroflow.define").joinpath("explanations")
    names = sorted(it.name for it in folder.iterdir() if it.name.endswith(".md"))
    heads = (folder.joinpath(name).read_text(encoding="utf-8").splitlines()[0] for name in names)
    return {
        name.removesuffix(".md"): head.partition(": ")[2] for name, head in zip(names, heads, strict=True)
    }
