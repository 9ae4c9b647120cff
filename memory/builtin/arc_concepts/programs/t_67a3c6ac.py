"""Left and right change places.

output = reflect grid(input, axis = vertical)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [row[::-1] for row in grid]
