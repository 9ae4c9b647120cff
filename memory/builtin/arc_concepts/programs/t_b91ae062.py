"""The grid grows by as many times as it has colors beside the background.

factor = count colors(input, without the background)
output = upscale grid(input, factor)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    factor = len({color for row in grid for color in row if color})
    return [[color for color in row for _ in range(factor)] for row in grid for _ in range(factor)]
