"""README.md from nbs/index.ipynb, as it was executed: images to figures/readme/, links from the repository's root.

    .venv/bin/python .ci/readme.py [folder to write to]"""
import re, shutil, sys
from pathlib import Path
import nbformat
from nbconvert import MarkdownExporter

pictures = 'figures/readme'
note = '<!-- Made from nbs/index.ipynb by `make readme`: edit the notebook, not this file. -->\n\n'

def from_root(match):
    "A link as index.ipynb has it (relative to nbs/), as README.md needs it."
    start, path = match.groups()
    if re.match(r'[a-z]+:|#|/', path): return match[0]
    return start + (path[3:] if path.startswith('../') else f'nbs/{path}')

def for_readers(nb, rooted=True):
    """`#| hide` drops a cell, `#| echo: false` its source; other directives are lines that no reader needs.
    Paths begin at the repository's root, or stay as they are."""
    dropped = r'\s*#\|\s*(hide|default_exp)' + r'|<!-- not in the README' * rooted
    nb.cells = [c for c in nb.cells if c.cell_type != 'raw' and not re.match(dropped, c.source)]
    for cell in nb.cells:
        if cell.cell_type == 'markdown':
            if rooted: cell.source = re.sub(r'(\]\(|(?:src|href)=")([^)"\s]+)', from_root, cell.source)
        elif re.search(r'^#\|\s*echo:\s*false', cell.source, re.M): cell.source = ''
        else:
            cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M)
            if rooted: cell.source = re.sub(r"(['\"])\.\./", r'\1', cell.source)
    nb.metadata['language_info'] = {'name': 'python'}
    return nb

def readme(root, out):
    nb = for_readers(nbformat.read(root/'nbs/index.ipynb', 4))
    nb.cells = [c for c in nb.cells if not c.source.startswith('---\n\n')] # the navigation between notebooks
    resources = {'unique_key': 'index', 'output_files_dir': pictures}
    text, resources = MarkdownExporter().from_notebook_node(nb, resources)
    text = re.sub(r'<style.*?</style>\s*', '', text, flags=re.S).replace('](../', '](') # links that a cell has printed
    text = re.sub(r'```python\s*```\n', '', text)
    text = re.sub(r'^[ \t]+$', '', text, flags=re.M)
    text = re.sub(r'\n{3,}', '\n\n', text).strip() + '\n'
    shutil.rmtree(out/pictures, ignore_errors=True)
    (out/pictures).mkdir(parents=True)
    for path, data in resources['outputs'].items(): (out/path).write_bytes(data)
    (out/'README.md').write_text(note + text)

if __name__ == '__main__':
    root = Path(__file__).resolve().parent.parent
    readme(root, Path(sys.argv[1]) if len(sys.argv) > 1 else root)
