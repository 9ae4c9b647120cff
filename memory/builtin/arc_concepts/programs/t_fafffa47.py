"""The lower half is laid over the upper half; a cell is 2 where neither has color.

upper, lower = split grid(input, 2 parts downward)
output = combine grids cell by cell(upper, lower, neither of both, color 2)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    half = len(grid) // 2
    pairs = zip(grid[:half], grid[half:], strict=True)
    return [[0 if a or b else 2 for a, b in zip(upper, lower, strict=True)] for upper, lower in pairs]
