"""Solid rectangles of color 5 are painted by part: corners 1, edges 4, inside 2.

for each cell of a solid rectangle:
    sides = number of neighbours by a side that belong to the rectangle
    paint cells(the cell, rule = color by position(sides, {2: 1, 3: 4, 4: 2}))
"""

COLOR_OF_SIDES = {2: 1, 3: 4, 4: 2}


def transform(grid: list[list[int]]) -> list[list[int]]:
    solid = {(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color == 5}
    output = [row[:] for row in grid]
    for row, col in solid:
        sides = solid & {(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)}
        output[row][col] = COLOR_OF_SIDES[len(sides)]
    return output
