"""Cells of color 8 that share a row or a column are connected by a line.

for each cell pair of color 8 in a row or a column:
    draw line between(pair)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    cells = [(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color == 8]
    for row, col in cells:
        for other_row, other_col in cells:
            if row == other_row or col == other_col:
                for r in range(row, other_row + 1):
                    for c in range(col, other_col + 1):
                        output[r][c] = 8
    return output
