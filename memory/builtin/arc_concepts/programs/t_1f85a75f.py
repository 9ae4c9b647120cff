"""Among many scattered cells one larger object is cut out.

objects = extract objects(input, one color each, touching by a side)
largest = select extreme object(objects, object size, largest)
output = crop to bounding box(largest), the noise around it left out
"""

Cell = tuple[int, int]


def objects_of(cells: set[Cell]) -> list[set[Cell]]:
    """The cells in groups that hang together by their sides."""
    left, groups = set(cells), []
    while left:
        group: set[Cell] = set()
        edge = [left.pop()]
        while edge:
            row, col = edge.pop()
            group.add((row, col))
            near = left & {(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)}
            left -= near
            edge.extend(near)
        groups.append(group)
    return groups


def transform(grid: list[list[int]]) -> list[list[int]]:
    objects: list[set[Cell]] = []
    for wanted in {color for row in grid for color in row if color}:
        cells = {(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color == wanted}
        objects += objects_of(cells)
    largest = max(objects, key=len)
    rows, cols = [row for row, _ in largest], [col for _, col in largest]
    return [
        [grid[row][col] if (row, col) in largest else 0 for col in range(min(cols), max(cols) + 1)]
        for row in range(min(rows), max(rows) + 1)
    ]
