"""Two cells of the same color in one row or column are connected; vertical lines lie above horizontal ones.

for each cell pair of one color in a row: draw line between(pair)
for each cell pair of one color in a column: draw line between(pair), over what is there
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for color in {color for row in grid for color in row if color}:
        for row, line in enumerate(grid):
            cols = [col for col, other in enumerate(line) if other == color]
            for col in range(cols[0], cols[-1] + 1) if cols else ():
                output[row][col] = color
    for color in {color for row in grid for color in row if color}:
        for col, column in enumerate(zip(*grid, strict=True)):
            rows = [row for row, other in enumerate(column) if other == color]
            for row in range(rows[0], rows[-1] + 1) if len(rows) > 1 else ():
                output[row][col] = color
    return output
