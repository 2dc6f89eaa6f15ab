"""`make publish REPO=owner/name TAG=v1`: write the repository's address wherever it is copied.

pyproject.toml holds address and tag; everything else is derived from it: the first cell of every
notebook, the badges of notebooks and papers, the address in CITATION.cff.
"""

import json
import re
import sys
from pathlib import Path

from hw4 import runtime
from hw4.tools import colab

PAPERS = ("README.md", "CITATION.cff")
# Where an address of ours stands, and what takes its place.
ADDRESSES = {
    r"(colab\.research\.google\.com/github/)[^/\s]+/[^/\s]+/blob/[^/\s]+/": "{repo}/blob/{tag}/",
    r"(mybinder\.org/v2/gh/)[^/\s]+/[^/\s]+/[^?\s)]+": "{repo}/{tag}",
    r"(https://github\.com/)[^/\s]+/[^/\s]+(?=/actions/workflows/)": "{repo}",
    r'(repository-code: "https://github\.com/)[^/\s]+/[^"\s]+': "{repo}",
}


def stamped(text: str, repository: str, tag: str) -> str:
    """Return a text with our own addresses in badges and links replaced.

    Args:
        text: of a paper or of a notebook's cell.
        repository: owner/name.
        tag: tag or branch.

    >>> stamped("https://mybinder.org/v2/gh/a/b/v1?urlpath=lab", "owner/name", "v2")
    'https://mybinder.org/v2/gh/owner/name/v2?urlpath=lab'
    """
    for pattern, address in ADDRESSES.items():
        text = re.sub(pattern, rf"\g<1>{address.format(repo=repository, tag=tag)}", text)
    return text


def stamp_notebook(text: str, question: str, repository: str, tag: str) -> str:
    """Return a notebook with its first cell and badges up to date, everything else untouched.

    Args:
        text: the notebook, JSON.
        question: `q1` to `q7`.
        repository: owner/name.
        tag: tag or branch.

    Raises:
        ValueError: a file that nbformat has not written.
    """
    for cell in json.loads(text)["cells"]:
        old = "".join(cell["source"])
        new = stamped(old, repository, tag)
        if "bootstrap" in cell["metadata"].get("tags", []):
            new = colab.bootstrap_cell(question)
        if new != old:
            if _as_stored(old) not in text:
                raise ValueError(
                    f"the notebook of {question} must be written as nbformat writes it; got "
                    f"another layout. Execute it again: hw4 run --in-place {question}."
                )
            text = text.replace(_as_stored(old), _as_stored(new))
    return text


def _as_stored(source: str) -> str:
    """Return a cell's source as nbformat writes it, so that the rest of a file stays as it is."""
    lines = json.dumps(source.splitlines(keepends=True), indent=1, ensure_ascii=False)
    return '"source": ' + lines.replace("\n", "\n   ")


def stamp() -> list[Path]:
    """Bring every copy of the address up to date with pyproject.toml; return what changed."""
    (url, tag), root = colab.address(), colab.ROOT
    repository = url.removeprefix("https://github.com/")
    changed = []
    for path in (*(root / name for name in PAPERS), *sorted((root / "notebooks").glob("q*.ipynb"))):
        old = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            new = stamp_notebook(old, path.stem[:2], repository, tag)
        else:
            new = stamped(old, repository, tag)
        if new != old:
            runtime.write_whole(path, new)
            changed.append(path)
    return changed


def publish(repository: str, tag: str = "") -> list[Path]:
    """Write an address and a tag into pyproject.toml and wherever they are copied.

    Args:
        repository: owner/name on GitHub.
        tag: tag or branch; by default the one that is there.

    Returns:
        The files that changed besides pyproject.toml.

    Raises:
        ValueError: a repository or tag that cannot be one.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", repository):
        raise ValueError(f"REPO must be owner/name; got {repository!r}. Name it as on GitHub.")
    if not re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9._-]*)?", tag):
        raise ValueError(
            f"TAG must be a tag or branch; got {tag!r}. Name it as in git, without a slash."
        )
    path = colab.ROOT / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^(Repository = ).*$", rf'\g<1>"https://github.com/{repository}"', text)
    if tag:
        text = re.sub(r"(?m)^(tag = ).*$", rf'\g<1>"{tag}"', text)
    runtime.write_whole(path, text)
    return stamp()


def main(arguments: list[str]) -> int:
    """Publish under the given address; without one, bring the copies up to date."""
    repository, tag = (*arguments, "", "")[:2]
    try:
        changed = publish(repository, tag) if repository or tag else stamp()
    except ValueError as error:
        print(f"publish: {error}", file=sys.stderr)
        return 2
    url, tag = colab.address()
    print(f"{url} at {tag}: {len(changed)} files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
