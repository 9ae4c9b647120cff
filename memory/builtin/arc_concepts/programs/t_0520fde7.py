"""Two pictures stand on both sides of a line; a cell is 2 where both are colored.

left, right = split grid(input, at the separator line of color 5)
output = combine grids cell by cell(left, right, logical and, color 2)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    line = grid[0].index(5)
    return [[2 if a and b else 0 for a, b in zip(row[:line], row[line + 1 :], strict=True)] for row in grid]
