"""Nested square rings change their colors end for end: the outermost gets that of the innermost, and so on.

rings = concentric layers(input), from the outside to the inside
colors = color of each ring
output = recolor object(each ring, colors in reverse order)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    colors = [grid[depth][depth] for depth in range(min(height, width) // 2)]
    return [
        [colors[-1 - min(row, col, height - 1 - row, width - 1 - col)] for col in range(width)] for row in range(height)
    ]
