"""The only figure is cut out.

output = crop to bounding box(the only object)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    rows = [row for row, line in enumerate(grid) if any(line)]
    cols = [col for col, line in enumerate(zip(*grid, strict=True)) if any(line)]
    return [line[cols[0] : cols[-1] + 1] for line in grid[rows[0] : rows[-1] + 1]]
