"""Objects that close around some background get color 8, open ones keep theirs.

outside = flood fill(background 9, from the border)
holes = background that is not outside
objects = closed frames and open figures = extract objects(input, color 1, touching by a side)
closed = filter objects(objects, encloses background: touches a hole)
output = recolor object(each of closed, color 8)
"""

Cell = tuple[int, int]


def sides(cell: Cell) -> set[Cell]:
    """The four neighbours of a cell."""
    row, col = cell
    return {(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)}


def grown(start: set[Cell], allowed: set[Cell]) -> set[Cell]:
    """All allowed cells that are reached from the start by sides."""
    reached, edge = set(start), list(start)
    while edge:
        new = (sides(edge.pop()) & allowed) - reached
        reached |= new
        edge.extend(new)
    return reached


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    background = {(row, col) for row in range(height) for col in range(width) if grid[row][col] == 9}
    border = {(row, col) for row, col in background if row in (0, height - 1) or col in (0, width - 1)}
    holes = background - grown(border, background)
    ones = {(row, col) for row in range(height) for col in range(width) if grid[row][col] == 1}
    closed = grown({cell for cell in ones if sides(cell) & holes}, ones)
    return [[8 if (row, col) in closed else grid[row][col] for col in range(width)] for row in range(height)]
