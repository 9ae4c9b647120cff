"""The bar at the left is a step of a stair: each row above is one cell longer, in color 3, each below one shorter, in 1.

step = row of the bar of color 2, at the left
cells of a row = length of the bar plus its distance above step
paint cells(those cells, rule = color by position(row, {above step: 3, below step: 1, step: 2}))
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    step = next(row for row, line in enumerate(grid) if line[0] == 2)
    length, width = grid[step].count(2), len(grid[0])
    output = []
    for row in range(len(grid)):
        color = 2 if row == step else 3 if row < step else 1
        cells = max(0, length + step - row)
        output.append([color] * cells + [0] * (width - cells))
    return output
