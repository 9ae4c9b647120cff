"""Each block of three by three cells becomes one cell of the color that prevails in it; single cells of color 5 are noise.

noise = single cells of color 5
blocks = split grid(input, parts of 3 by 3)
output = downscale grid(blocks, summary = most common color)
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    def prevailing(top: int, left: int) -> int:
        colors = Counter(color for row in grid[top : top + 3] for color in row[left : left + 3])
        return colors.most_common(1)[0][0]

    return [[prevailing(top, left) for left in range(0, len(grid[0]), 3)] for top in range(0, len(grid), 3)]
