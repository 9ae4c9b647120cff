"""Cells of color 2 become full columns; cells of color 1 and 3 become full rows, which lie above.

for each source cell of color 2: draw ray(cell, up and down)
for each source cell of color 1 or 3: draw ray(cell, left and right), over what is there
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    columns = {col for line in grid for col, color in enumerate(line) if color == 2}
    output = []
    for line in grid:
        bar = next((color for color in line if color in (1, 3)), 0)
        output.append([bar or (2 if col in columns else 0) for col in range(len(line))])
    return output
