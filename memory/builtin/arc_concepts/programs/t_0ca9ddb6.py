"""A cell of color 2 gets four cells of color 4 at its corners, a cell of color 1 four cells of color 7 at its sides.

for each source cell of color 2: stamp pattern(four corners, at the cell, color 4)
for each source cell of color 1: stamp pattern(four sides, at the cell, color 7)
"""

STAMPS = {
    2: (4, ((-1, -1), (-1, 1), (1, -1), (1, 1))),
    1: (7, ((-1, 0), (1, 0), (0, -1), (0, 1))),
}


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for row, line in enumerate(grid):
        for col, color in enumerate(line):
            if color in STAMPS:
                paint, places = STAMPS[color]
                for down, right in places:
                    if 0 <= row + down < len(grid) and 0 <= col + right < len(line):
                        output[row + down][col + right] = paint
    return output
