"""The grid opens like a folded paper: its mirror images stand to the right, below, and at the diagonal.

top = concatenate grids([input, reflect grid(input, axis = vertical)], direction = to the right)
bottom = reflect grid(top, axis = horizontal)
output = concatenate grids([top, bottom], direction = down)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    top = [row + row[::-1] for row in grid]
    return top + top[::-1]
