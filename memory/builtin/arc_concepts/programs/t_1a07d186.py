"""Loose cells are drawn to the line of their own color and stick to its near side; cells without such a line go.

lines = full line(rows or columns of one color)
for each loose cell:
    if there is a line of its color: slide until contact(cell, toward the line)
    else: remove it
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    rows = {line[0]: row for row, line in enumerate(grid) if line[0] and len(set(line)) == 1}
    if not rows:
        turned = transform([list(column) for column in zip(*grid, strict=True)])
        return [list(column) for column in zip(*turned, strict=True)]
    output = [line if row in rows.values() else [0] * len(line) for row, line in enumerate(grid)]
    for row, line in enumerate(grid):
        for col, color in enumerate(line):
            if color in rows and row != rows[color]:
                output[rows[color] + (1 if row > rows[color] else -1)][col] = color
    return output
