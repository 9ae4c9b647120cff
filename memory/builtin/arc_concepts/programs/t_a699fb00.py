"""A gap of one cell between two cells of color 1 in a row is filled with color 2.

for each cell pair of color 1 in a row with one cell between them:
    draw line between(pair, color 2)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for row, line in enumerate(grid):
        for col in range(1, len(line) - 1):
            if line[col - 1] == line[col + 1] == 1:
                output[row][col] = 2
    return output
