"""A picture of what messages cost: bars on a logarithmic scale, as SVG that follows the reader's choice of light or dark."""
import math
from html import escape

WIDTH, LEFT, RIGHT, TOP = 900, 190, 90, 92
BAR, GAP, ROOM = 16, 3, 18
SIZE = 256
CLIENTS = {'lago': 'a', 'floor': 'b', 'rabbitmq-c': 'c'}
NAMES = {'lago': 'lago', 'floor': 'floor: the least that a checked client must do', 'rabbitmq-c': 'rabbitmq-c'}
# Colours by their numbers, not by variables, which few programs but browsers know; they read on light paper and on dark.
STYLE = '''<style>
svg { font: 13px sans-serif }
text { fill: #1f2328 } .grid { stroke: #d0d7de } .title { font-size: 15px; font-weight: bold }
.a { fill: #2f81f7 } .b { fill: #8c959f } .c { fill: #d4762c }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #3d444d } }
</style>'''


def text(x, y, what, more=''):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(what)}</text>'


def draw(rows, machine):
    """The processor's time for a message, for each mode, of one size."""
    sizes = {row['size'] for row in rows}
    size = SIZE if SIZE in sizes else min(sizes)
    shown = [row for row in rows if row['size'] == size and row['mode'] != 'pingpong' and row['cpu_ns'] > 0]
    modes = list(dict.fromkeys(row['mode'] for row in shown))
    values = [row['cpu_ns'] for row in shown] or [1, 10]
    least, most = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))

    def x_of(value):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(value / least) / max(math.log10(most / least), 1)

    parts, y = [], TOP
    for mode in modes:
        top = y
        for row in (row for client in CLIENTS for row in shown if row['mode'] == mode and row['client'] == client):
            style = CLIENTS[row['client']]
            width = x_of(row['cpu_ns']) - LEFT
            parts.append(f'<rect class="{style}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>')
            parts.append(text(x_of(row['cpu_ns']) + 6, y + BAR - 4, f'{row["cpu_ns"]:.0f} ns'))
            y += BAR + GAP
        parts.append(text(LEFT - 10, (top + y) / 2 + 3, mode, 'text-anchor="end"'))
        y += ROOM
    grid, value = [], least
    while value <= most:
        grid.append(f'<line class="grid" x1="{x_of(value):.1f}" y1="{TOP - 8}" x2="{x_of(value):.1f}" y2="{y - ROOM + 4}"/>')
        grid.append(text(x_of(value), y + 4, f'{value:,.0f} ns', 'text-anchor="middle"'))
        value *= 10
    keys, x = [], 10
    for client, style in CLIENTS.items():
        if any(row['client'] == client for row in shown):
            keys.append(f'<rect class="{style}" x="{x}" y="50" width="12" height="12" rx="2"/>' + text(x + 18, 61, NAMES[client]))
            x += 60 + 7 * len(NAMES[client])
    title = text(10, 28, f'CPU time of the client for a message of {size} bytes (shorter is better, logarithmic)',
                 'class="title"')
    foot = text(10, y + 34, f"{machine['processor']}, Linux {machine['kernel']}, {machine['compiler']}, over loopback")
    height = y + 48
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">'
    return '\n'.join([head, STYLE, title, *keys, *grid, *parts, foot, '</svg>', ''])
