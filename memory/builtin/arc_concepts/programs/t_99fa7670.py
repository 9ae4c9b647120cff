"""Each cell sends a ray to the right, which turns down at the border and runs until the next one comes.

for each source cell, from the top:
    draw ray(cell, right)
    draw ray(last cell of the ray, down), until the row of the next cell
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    flowing = 0
    for row in output:
        start = next((col for col, color in enumerate(row) if color), len(row) - 1)
        flowing = row[start] or flowing
        row[start:] = [flowing] * (len(row) - start)
    return output
