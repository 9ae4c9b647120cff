"""Each of two cells draws its row and its column; where the two crosses meet, the color is 2.

for each source cell:
    draw ray(cell, in all four directions)
where a row of one meets a column of the other: color 2
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    cells = [(row, col, color) for row, line in enumerate(grid) for col, color in enumerate(line) if color]
    output = [row[:] for row in grid]
    for row, line in enumerate(output):
        for col in range(len(line)):
            through = {color for r, c, color in cells if row == r or col == c}
            line[col] = 2 if len(through) == 2 else next(iter(through), 0)
    return output
