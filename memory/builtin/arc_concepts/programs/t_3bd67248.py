"""From the foot of the bar at the left a diagonal of color 2 rises to the right, and the floor gets color 4.

draw ray(foot of the bar, up and right, color 2)
draw ray(foot of the bar, right, color 4)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    size = len(grid)
    output = [row[:] for row in grid]
    for col in range(1, len(grid[0])):
        output[size - 1][col] = 4
        if col < size:
            output[size - 1 - col][col] = 2
    return output
