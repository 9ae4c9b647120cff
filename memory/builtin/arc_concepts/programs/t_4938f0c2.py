"""A small square of color 3 is the centre: the figure beside it is mirrored to the other three quarters.

result = symmetric pattern around a centre, the object of color 3
for each cell of the figure of color 2:
    draw it, and reflect grid(it, across the vertical middle of the centre, the horizontal middle, and both)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    cells = {(row, col): color for row, line in enumerate(grid) for col, color in enumerate(line) if color}
    centre_rows = [row for (row, _), color in cells.items() if color == 3]
    centre_cols = [col for (_, col), color in cells.items() if color == 3]
    row_sum, col_sum = min(centre_rows) + max(centre_rows), min(centre_cols) + max(centre_cols)
    output = [row[:] for row in grid]
    for (row, col), color in cells.items():
        for image_row in (row, row_sum - row):
            for image_col in (col, col_sum - col):
                output[image_row][image_col] = color
    return output
