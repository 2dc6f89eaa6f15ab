"""What nbval compares: the claims' JSON too, with measured numbers masked; no native messages."""

import json
import re

CLAIMS = "application/vnd.hw4.claims+json"
# These describe the machine and its installation.
ENVIRONMENT = ("device", "backend", "versions")


def comparable(document: dict) -> str:
    """Return a claims document as text in which everything that may vary is masked.

    A measured value is compared where the claim is exact: equal to its mark with no tolerance.
    Marks are compared to six digits. Of optional claims only the ids are kept.
    """
    optional = document.get("optional", [])
    head = {key: value for key, value in document.items() if key not in ENVIRONMENT}
    head.pop("optional", None)
    head["claims"] = [
        {"id": claim["id"]} if claim["id"] in optional else _masked(claim)
        for claim in document["claims"]
    ]
    text = json.dumps(head, indent=1, sort_keys=True, ensure_ascii=False)
    return re.sub("⟨[^⟩]*⟩", "⟨measured⟩", text)


def _masked(claim: dict) -> dict:
    exact = claim["relation"] == "equal" and not claim["tolerance"]
    measured = claim["measured"] if exact else "⟨⟩"
    return claim | {"measured": measured, "expected": _rounded(claim["expected"])}


def _rounded(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_itemcollected(item):
    """Let a cell of nbval compare claims documents in their comparable form."""
    if not hasattr(item, "sanitize"):
        return
    sanitize = item.sanitize

    def sanitized(value):
        return (
            comparable(value) if isinstance(value, dict) and "claims" in value else sanitize(value)
        )

    item.sanitize = sanitized
