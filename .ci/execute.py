"""Run notebooks in place and clean them, as they are committed: outputs kept, no widget state, cells marked
`#| eval: false` left as they are.

    .venv/bin/python .ci/execute.py 22_encoder paper/swaps ..."""
import re, subprocess, sys
from pathlib import Path
import nbformat
from nbclient import NotebookClient

nbs = Path(__file__).resolve().parent.parent / 'nbs'

class Client(NotebookClient):
    async def async_execute_cell(self, cell, cell_index, **kw):
        if re.search(r'^#\|\s*eval:\s*false', cell.source, re.M): return cell
        return await super().async_execute_cell(cell, cell_index, **kw)

def is_bar(output): return output.get('name') == 'stderr' and '\r' in output.text # progress, which nobody reads later

def execute(name):
    path = nbs / f'{name.removesuffix(".ipynb")}.ipynb'
    nb = nbformat.read(path, 4)
    where = {'metadata': {'path': str(path.parent)}}
    try: Client(nb, timeout=3600, kernel_name='python3', store_widget_state=False, resources=where).execute()
    finally:
        for c in nb.cells:
            if c.cell_type == 'code': c.outputs = [o for o in c.outputs if not is_bar(o)]
        nbformat.write(nb, path)
    subprocess.run(['nbdev_clean', '--fname', str(path)], check=True)

if __name__ == '__main__':
    for name in sys.argv[1:]:
        execute(name)
        print(f'{name}: executed and cleaned')
