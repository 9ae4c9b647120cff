"""Two cells of the same color on one diagonal are connected.

for each color:
    draw line between(cell pair of that color, diagonal)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for wanted in {color for row in grid for color in row if color}:
        cells = [(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color == wanted]
        (row, col), (end_row, end_col) = cells[0], cells[-1]
        step = 1 if end_col > col else -1
        for distance in range(end_row - row + 1):
            output[row + distance][col + step * distance] = wanted
    return output
