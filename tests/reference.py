"""Slow, obvious truths that the tests compare the package with.

Each function does the thing itself, one step at a time, and shares no code with the package.
"""

# --- Convolution arithmetic ------------------------------------------------------------------


def kernel_places(n, k, s, d, before, after):
    """Lay a kernel on a padded line and move it until it no longer fits; list the taps."""
    line = ["zero"] * before + list(range(n)) + ["zero"] * after
    places, left = [], 0
    while left + d * (k - 1) < len(line):
        places.append([left + t * d - before for t in range(k)])
        left += s
    return places


def ceil_places(n, k, s, d, before, after):
    """As kernel_places, but let the last window hang over, if it starts inside n + before."""
    places, left = [], 0
    while left + d * (k - 1) < n + before + after or (
        left < n + before and left + d * (k - 1) < n + before + after + s - 1
    ):
        places.append([left + t * d - before for t in range(k)])
        left += s
    return places


def stamped(n, k, s, d):
    """Stamp a kernel for each input of a transposed convolution; list the inputs of each cell."""
    cells = [set() for _ in range((n - 1) * s + d * (k - 1) + 1)]
    for i in range(n):
        for t in range(k):
            cells[i * s + t * d].add(i)
    return cells


def seen_inputs(operations, output):
    """Follow one output of a chain back to the input positions it depends on.

    An operation is (kind, k, s, d, before), kind "slide" or "stamp", on lines without ends.
    """
    wanted = {output}
    for kind, k, s, d, before in reversed(operations):
        if kind == "slide":
            wanted = {o * s - before + t * d for o in wanted for t in range(k)}
        else:
            far = max(map(abs, wanted), default=0) + k * d + before
            wanted = {
                i
                for i in range(-far, far + 1)
                if any(i * s - before + t * d in wanted for t in range(k))
            }
    return wanted
