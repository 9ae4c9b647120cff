"""The pegs of color 2 rise in their columns until they meet the block of color 1.

output = apply gravity(input, cells of color 2, direction = up, obstacle = color 1)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    columns = []
    for column in zip(*grid, strict=True):
        fixed = [0 if color == 2 else color for color in column]
        top = max((row + 1 for row, color in enumerate(fixed) if color), default=0)
        for row in range(top, top + column.count(2)):
            fixed[row] = 2
        columns.append(fixed)
    return [list(row) for row in zip(*columns, strict=True)]
