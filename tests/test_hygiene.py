"""What must be true of the repository as a whole: notebooks, package and README agree, and are readable."""
import json, os, re, shutil, subprocess, sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
notebooks = sorted(p for p in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
names = [str(p.relative_to(root/'nbs')) for p in notebooks]
number = {p.stem[3:]: int(p.stem[:2]) for p in notebooks if re.match(r'\d\d_', p.name)}
experiments = [p for p in notebooks if not re.match(r'\d\d_|index|results|methods|add_a_method|real_faces', p.name)]
programs = [p for d in ('data_prep', 'checkpoints', 'tests', '.ci') for p in sorted((root/d).glob('*.py'))]
each = pytest.mark.parametrize('path', notebooks, ids=names)

def cells(path, kind='code'): return [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == kind]
def source(cell): return ''.join(cell['source'])
def outputs(path): return [o for c in cells(path) for o in c['outputs']]
def shown(path):
    "All text that the notebook's outputs show."
    plain = lambda o: [o.get('text'), *(v for k, v in o.get('data', {}).items() if k.startswith('text/'))]
    texts = [t for o in outputs(path) for t in plain(o)]
    return re.sub(r'base64,[\w+/=]+', '', '\n'.join(''.join(t) for t in texts if t))

def run(*command, cwd=root):
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    env = {**os.environ, 'PATH': path, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "The repository's notebooks, cleaned and exported afresh somewhere else."
    to = tmp_path_factory.mktemp('copy')
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(root/name, to)
    shutil.copytree(root/'nbs', to/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    (to/'diffsda').mkdir()
    shutil.copy(root/'diffsda/__init__.py', to/'diffsda') # nbdev changes only the version in it
    run('nbdev_clean', '--fname', 'nbs', cwd=to)
    run('nbdev_export', cwd=to)
    return to


@each
def test_executed_without_errors(path):
    assert outputs(path), 'has no outputs: execute it'
    assert [o['evalue'] for o in outputs(path) if o['output_type'] == 'error'] == []

@each
def test_no_absolute_paths(path):
    assert re.findall(r'(?<![\w.:/~-])/(?:work|root|tmp|home|Users|private|var)/\S*', shown(path)) == []
    assert [source(c) for c in cells(path) if re.search(r'[\'"]/(?:work|root|home|Users)/', source(c))] == []

@each
def test_no_progress_bars(path):
    assert re.findall(r'.*(?:\r(?!\n)|\d\d:\d\d<).*', shown(path)) == []

@each
def test_small(path):
    assert path.stat().st_size < 600_000, 'is too large: smaller pictures (dpi <= 80), fewer of them'
    assert 'widgets' not in json.loads(path.read_text())['metadata'], 'carries the state of widgets: clear it'

@each
def test_clean(path, copy):
    cleaned = (copy/path.relative_to(root)).read_text()
    assert path.read_text() == cleaned, 'run nbdev_clean (make install sets the hook that does it)'

@each
def test_readable_at_a_glance(path):
    "120 characters a line, 30 lines a cell (papermill wants all parameters in one)."
    lines = [line for c in cells(path) for line in source(c).splitlines()]
    quotes = re.findall(r'^> (.*)$', source(cells(path, 'markdown')[0]), re.M)
    if path.name[0].isdigit(): lines += [f'"""{quote}"""' for quote in quotes[:1]] # the module's docstring
    assert [line for line in lines if len(line) > 120] == []
    long = [c for c in cells(path) if len(source(c).splitlines()) > 30]
    assert [source(c).splitlines()[0] for c in long if 'parameters' not in c['metadata'].get('tags', [])] == []

@pytest.mark.parametrize('path', programs, ids=lambda p: str(p.relative_to(root)))
def test_programs_are_as_narrow(path):
    assert [line for line in path.read_text().splitlines() if len(line) > 120] == []


# The words of a diffusion or representation-learning paper, and those that this repository used to have in their place.
PRIVATE = '|'.join(r'''
\bpaint(s|ed|er|ers|ing)?\b  \btold\b  \brungs?\b  \bladders?\b  \bloud(er|est)?\b  \bquiet(er|ly)?\b  \bhears?\b
\bdeaf\b
\bwhisper\w*  \bripples?\b  strangers?\saccepted  friends?\srejected  takes?\sapart\b  taken\sapart  \brebuilt\b
half-new
at\sbirth  without\sdice  \bdear\b  \bat\shand\b  \bto\sbe\shad\b  dealt\sout  handed\sout  as\scommitted
[Tt]he\saim\s(was|were)
\b[Mm]issed\b  \b[Rr]ooms?\s\d  \b(this|that|a|the|every|each)\srooms?\b  is\sno\snumber  that\sare\snone  \bvarious\b
[Cc]opies,\sor\skin'''.split())
AMERICAN = r'\b(' + '|'.join(r'''
colors? colored normaliz\w+ standardiz\w+ behaviors? centered initializ\w+ optimiz\w+ generaliz\w+ summariz\w+
visualiz\w+ analyzed? neighbors? favor\w* labeled modeling'''.split()) + r')\b'
NAMES = r'\b(' + '|'.join('''signal_left noised step_down leaps renew take_up shown_as components_of
check_settings Painter Overtaken Shell Ear'''.split()) + r')\b'
NAMES += r'|\b(quiet|residual|oracle)=|\bwhat=.(static|dynamic)'

def prose(path):
    "What a reader reads: markdown, without its code blocks and formulas; comments and strings of code."
    if path.suffix == '.md': texts = [path.read_text()]
    elif path.suffix == '.py': return '\n'.join(re.findall(r'#.*|"[^"\n]*"', path.read_text()))
    else:
        texts = [source(c) for c in cells(path, 'markdown')]
        texts += ['\n'.join(re.findall(r'#.*|"[^"\n]*"', source(c))) for c in cells(path)]
    return re.sub(r'```.*?```|`[^`\n]*`|\]\([^)]*\)', ' ', '\n'.join(texts), flags=re.S)

readmes = [root/d/'README.md' for d in ('', 'data_prep', 'checkpoints', 'figures')]
pages = [*notebooks, *programs, *readmes]

@pytest.mark.parametrize('path', [p for p in pages if p.parent.name != 'tests'], ids=lambda p: str(p.relative_to(root)))
def test_speaks_the_language_of_the_field(path):
    found = [m[0] for m in re.finditer(PRIVATE, prose(path))]
    assert found == [], 'see the table of words in the house style'
    assert [m[0] for m in re.finditer(AMERICAN, prose(path)) if path.suffix != '.py'] == [], 'British spelling'

@pytest.mark.parametrize('path', pages, ids=lambda p: str(p.relative_to(root)))
def test_no_old_name(path):
    if path.name in ('test_hygiene.py', '03_files.ipynb', 'test_files.py'): return # they name what they refuse
    text = '\n'.join(source(c) for c in cells(path)) if path.suffix == '.ipynb' else path.read_text()
    assert [m[0] for m in re.finditer(NAMES, text)] == []

@each
def test_cites_the_paper_by_its_own_numbers(path):
    "Eq. 1-11, Tab. 1-6, Alg. 1-2, App. A-F of the submission; the arXiv text's numbers stand in the index only."
    text = '\n'.join(source(c) for c in cells(path, 'markdown')) + '\n'.join(source(c) for c in cells(path))
    if path.stem in ('index', 'results'): return
    assert re.findall(r'.*(?:arXiv text|App\. B\.4|plan of this repository).*', text) == []
    assert [n for n in re.findall(r'\(Eq\. (\d+)', text) if int(n) > 11] == []
    assert [n for n in re.findall(r'\((?:Table|Tab\.) (\d+)', text) if int(n) > 6] == []

def test_navigation_is_up_to_date():
    run(sys.executable, str(root/'.ci/navigate.py'), '--check')

@each
def test_links_lead_somewhere(path):
    text = '\n'.join(source(c) for c in cells(path, 'markdown'))
    local = [l.split('#')[0] for l in re.findall(r'\]\(([^)\s]+)\)', text) if not re.match(r'[a-z]+:|#', l)]
    assert [l for l in local if l and not (path.parent/l).exists()] == []

def test_the_index_names_every_notebook():
    text = '\n'.join(source(c) for c in cells(root/'nbs/index.ipynb', 'markdown'))
    assert [n for n in names if n != 'index.ipynb' and f']({n})' not in text] == []

@each
def test_imports_only_lower_numbers(path):
    text = '\n'.join(source(c) for c in cells(path))
    used = re.findall(r'^\s*(?:from|import)\s+diffsda\.(\w+)', text, re.M)
    used += re.findall(r'^\s*from\s+diffsda\s+import\s+(\w+)', text, re.M)
    here = number.get(path.stem[3:], 100)
    assert [m for m in used if m not in number or number[m] >= here] == []


def test_there_are_notebooks():
    assert {'index.ipynb', 'train.ipynb'} <= set(names) and len(number) > 10

@pytest.mark.parametrize('path', experiments, ids=lambda p: p.stem)
def test_experiment_has_parameters(path, copy):
    kept = [c for c in cells(copy/path.relative_to(root)) if 'parameters' in c['metadata'].get('tags', [])]
    assert len(kept) == 1, "needs one cell tagged 'parameters' (papermill), and nbdev_clean must leave the tag"
    assert re.search(r'skip_exec:\s*true', path.read_text()), 'nbdev_test does not run an experiment: skip_exec'

def test_package_is_the_export(copy):
    fresh, ours = ({p.name: p.read_text() for p in (d/'diffsda').glob('*.py')} for d in (copy, root))
    assert sorted(fresh) == sorted(ours)
    assert [name for name in fresh if fresh[name] != ours[name]] == [], 'run nbdev_export'

def test_version_is_one():
    versions = [re.search(r'^(?:__)?version(?:__)?\s*[=:]\s*"?([\d.]+)', (root/f).read_text(), re.M)[1]
                for f in ('settings.ini', 'pyproject.toml', 'CITATION.cff', 'diffsda/__init__.py')]
    assert len(set(versions)) == 1, versions


only_three = '''
import builtins, importlib, sys
def guarded(name, globals=None, locals=None, fromlist=(), level=0, real=builtins.__import__):
    mine = (globals or {}).get("__name__", "").split(".")[0] == "diffsda"
    ours = {"torch", "einops", "numpy", "diffsda"} | sys.stdlib_module_names
    if mine and not level and name.split(".")[0] not in ours:
        raise ImportError(f"{globals['__name__']} imports {name}")
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = guarded
for module in sys.argv[1:]: importlib.import_module(module)
print(*sorted(m for m in sys.modules if m.startswith("diffsda.")))
'''

def test_maths_needs_only_torch_einops_numpy():
    the_maths = {m for m, n in number.items() if n <= 23 and m != 'files'} # files needs safetensors
    maths = ['diffsda', *(f'diffsda.{m}' for m in the_maths if (root/f'diffsda/{m}.py').exists())]
    loaded = run(sys.executable, '-c', only_three, *maths).split()
    assert {m.split('.')[1] for m in loaded} - {'_modidx'} <= the_maths, 'the maths imports more than the maths'


def test_readme_links_exist():
    text = (root/'README.md').read_text()
    links = re.findall(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"', text)
    local = [a or b for a, b in links if not re.match(r'[a-z]+:|#', a or b)]
    assert local and [l for l in local if not (root/l.split('#')[0]).exists()] == []

def test_readme_is_made_from_index(tmp_path):
    run(sys.executable, str(root/'.ci/readme.py'), str(tmp_path))
    assert (tmp_path/'README.md').read_text() == (root/'README.md').read_text(), 'run make readme'

def test_printed_papermill_commands_write_where_a_folder_is():
    "papermill makes no folder for its output: the commands as printed name one that a clone has."
    texts = [p.read_text() for p in (root/'README.md', root/'checkpoints/README.md', root/'data_prep/README.md')]
    texts += [source(c) for p in notebooks for c in cells(p, 'markdown')]
    outputs = [m for text in texts for m in re.findall(r'papermill nbs/\w+\.ipynb (\S+\.ipynb)', text)]
    assert outputs and [o for o in outputs if not (root/o).parent.is_dir() or (root/o).parent.name != 'runs'] == []
