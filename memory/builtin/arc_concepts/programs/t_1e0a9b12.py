"""All cells fall down to the floor and pile up in their order.

output = apply gravity(input, cells, direction = down)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    columns = []
    for column in zip(*grid, strict=True):
        fallen = [color for color in column if color]
        columns.append([0] * (len(column) - len(fallen)) + fallen)
    return [list(row) for row in zip(*columns, strict=True)]
