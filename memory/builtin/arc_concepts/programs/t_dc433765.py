"""The cell of color 3 makes one step toward the cell of color 4.

direction = sign of the difference of positions, in rows and in columns
output = translate object(cell of color 3, one step in direction)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    places = {color: (row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color}
    (row, col), (goal_row, goal_col) = places[3], places[4]
    output = [line[:] for line in grid]
    output[row][col] = 0
    output[row + (goal_row > row) - (goal_row < row)][col + (goal_col > col) - (goal_col < col)] = 3
    return output
