"""Two pictures stand above and below a line; a cell is 3 where exactly one of them is colored.

upper, lower = split grid(input, at the separator line of color 4)
output = combine grids cell by cell(upper, lower, exclusive or, color 3)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    line = grid.index([4] * len(grid[0]))
    pairs = zip(grid[:line], grid[line + 1 :], strict=True)
    return [[3 if bool(a) != bool(b) else 0 for a, b in zip(upper, lower, strict=True)] for upper, lower in pairs]
