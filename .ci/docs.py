"""The documentation as a static site: the notebooks as they are committed, the API of each module, search.
Nothing is executed.

    make docs                                  into _docs/
    .venv/bin/python .ci/docs.py [folder]      into another folder

Notebooks become Markdown (nbconvert); MkDocs with the Material theme makes pages of it. Formulas are set by a copy of
MathJax that lies beside the pages, so the site works without a network."""
import importlib, json, logging, re, shutil, sys, tempfile
from pathlib import Path
import jupyter_server_mathjax, nbformat
from mkdocs.commands.build import build
from mkdocs.config import load_config
from nbconvert import MarkdownExporter
from nbdev.showdoc import BasicMarkdownRenderer, show_doc
from navigate import MARK, SECTIONS, title
from readme import for_readers

root = Path(__file__).resolve().parent.parent
PAGES = { # what is not a notebook: file, and its page
    'data_prep/README.md': 'data_prep.md', 'checkpoints/README.md': 'checkpoints.md',
    'figures/README.md': 'figures.md', 'runs/README.md': 'runs.md'}
MATHJAX = r'''
window.MathJax = {tex2jax: {inlineMath: [['\\(', '\\)']], displayMath: [['\\[', '\\]']]}, messageStyle: 'none'};'''
LINK = r'(!?)\[([^\]]*)\]\(([^)\s]+)\)'

def notebooks(): return [*sorted((root / 'nbs').glob('*.ipynb')), *sorted((root / 'nbs/paper').glob('*.ipynb'))]
def slug(text): return re.sub(r'[^\w\- ]', '', text.strip().lower()).replace(' ', '-')

def to_page(link, here):
    "A link of the repository as a link of the site; '' for what has no page there."
    path, _, anchor = link.partition('#')
    if re.match(r'[a-z]+:', link): return link
    if not path: return f'#{slug(anchor)}'
    target = (here / path).resolve()
    name = str(target.relative_to(root)) if target.is_relative_to(root) else ''
    if name.endswith('.ipynb'): return f'{target.stem}.md' + (f'#{slug(anchor)}' if anchor else '')
    if name in PAGES: return PAGES[name]
    return name if target.is_file() and name.startswith('figures/') else ''

def linked(text, here):
    "Every link turned; the words of a link without a page stay, without it."
    def one(m):
        to = to_page(m[3], here)
        if to: return f'{m[1]}[{m[2]}]({to})'
        return '' if m[1] else m[2]
    text = re.sub(LINK, one, text)
    return re.sub(r'src="([^"]+)"', lambda m: f'src="{to_page(m[1], here) or m[1]}"', text)

def notebook(path, out):
    "One notebook as a page, its images beside it."
    nb = for_readers(nbformat.read(path, 4), rooted=False)
    resources = {'unique_key': path.stem, 'output_files_dir': f'{path.stem}_files'}
    text, resources = MarkdownExporter().from_notebook_node(nb, resources)
    text = re.sub(r'<style.*?</style>\s*', '', text, flags=re.S)
    text = re.sub(r'```python\s*```\n', '', text)
    text = '\n'.join(line for line in text.splitlines() if not line.startswith(MARK)) # the site has its own contents
    made = set(resources['outputs'])
    text = re.sub(LINK, lambda m: m[0] if m[3] in made else linked(m[0], path.parent), text)
    (out / f'{path.stem}.md').write_text(text, encoding='utf-8')
    for name, data in resources['outputs'].items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)

def documented(thing):
    "Signature, parameters and docstring of a function or class."
    text = show_doc(thing, renderer=BasicMarkdownRenderer, title_level=3)._repr_markdown_()
    return re.sub(r'^---\s*|^\[source\].*$', '', text, flags=re.M).strip()

def api(module, stem, out):
    "The page of one module: everything that its notebook exports, and the methods of its classes."
    name = module.__name__.split('.')[-1]
    parts = [f'# diffsda.{name}', f'> {module.__doc__}', f'Derived in [its notebook]({stem}.md).']
    for thing in (getattr(module, n) for n in module.__all__):
        if not callable(thing): continue
        parts.append(documented(thing))
        if not isinstance(thing, type): continue
        methods = [v for k, v in vars(thing).items() if not k.startswith('_') and callable(v)]
        parts += [documented(method) for method in methods if getattr(method, '__doc__', None)]
    (out / f'api_{name}.md').write_text('\n\n'.join(parts) + '\n', encoding='utf-8')

def navigation(modules):
    titles = {p.stem: title(json.loads(p.read_text())['cells']) for p in notebooks()}
    pages = lambda names: [{titles[n]: f'{n}.md'} for n in names.split() if n in titles]
    sections = [{section: pages(names)} for section, names in SECTIONS.items()]
    paper = [{titles[p.stem]: f'{p.stem}.md'} for p in notebooks() if p.parent.name == 'paper']
    return [*sections, {'Figures and tables': paper}, {'Files': [{page[:-3]: page} for page in PAGES.values()]},
            {'API': [{f'diffsda.{name}': f'api_{name}.md'} for name in modules]}]

def sources(out):
    "Everything that MkDocs reads; its navigation."
    shutil.copytree(root / 'figures', out / 'figures', ignore=shutil.ignore_patterns('*.md', '*.json'))
    for path in notebooks(): notebook(path, out)
    for name, page in PAGES.items():
        (out / page).write_text(linked((root / name).read_text(), (root / name).parent), encoding='utf-8')
    stems = [p.stem for p in sorted((root / 'nbs').glob('[0-9]*.ipynb'))]
    modules = {stem[3:]: stem for stem in stems if (root / f'diffsda/{stem[3:]}.py').exists()}
    for name, stem in modules.items(): api(importlib.import_module(f'diffsda.{name}'), stem, out)
    mathjax = Path(jupyter_server_mathjax.__file__).parent / 'static'
    shutil.copytree(mathjax, out / 'mathjax', ignore=shutil.ignore_patterns('localization'))
    (out / 'mathjax.js').write_text(MATHJAX)
    return navigation(modules)

def main(to):
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder) / 'docs'
        docs.mkdir()
        nav = sources(docs)
        build(load_config(str(root / '.ci/mkdocs.yml'), docs_dir=str(docs), site_dir=str(to), nav=nav))
    print(f'{to}/index.html')

if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    main(Path(sys.argv[1] if len(sys.argv) > 1 else root / '_docs').resolve())
