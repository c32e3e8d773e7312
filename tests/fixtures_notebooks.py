"""Experiment notebooks in this process: as papermill runs them, without the time that a kernel for each would take."""
import json, os
from pathlib import Path
import matplotlib

matplotlib.use('Agg')
nbs = Path(__file__).resolve().parent.parent / 'nbs'

def run_cells(name,      # nbs/NAME.ipynb
              **values): # parameters; paths become texts, as on a command line
    "The code cells, one after the other in nbs/, the parameters put where papermill puts them; -> their globals."
    import matplotlib.pyplot as plt
    cells = json.loads((nbs / f'{name}.ipynb').read_text())['cells']
    space, here = {'__name__': '__main__'}, os.getcwd()
    os.chdir(nbs)
    try:
        for i, cell in enumerate(c for c in cells if c['cell_type'] == 'code'):
            exec(compile(''.join(cell['source']), f'{name}.ipynb, code cell {i}', 'exec'), space)
            if 'parameters' in cell['metadata'].get('tags', []):
                space.update({k: str(v) if isinstance(v, Path) else v for k, v in values.items()})
    finally:
        os.chdir(here)
        plt.close('all')
    return space
