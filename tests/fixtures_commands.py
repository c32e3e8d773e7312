"""Every command that the repository prints, and a fresh clone in which it is run on tiny data with a tiny budget."""
import ast, contextlib, importlib, io, json, os, re, shlex, shutil, subprocess, sys, tomllib
from pathlib import Path
from typing import NamedTuple
import fixtures, fixtures_speech, fixtures_video

root = Path(__file__).resolve().parent.parent
TARGETS = re.findall(r'^([a-z]+):.*##', (root / 'Makefile').read_text(), re.M)
WORDS = (r'python3? (?:-|\S+\.py)|\w+\.py [A-Z-]|papermill \S+\.ipynb|diffsda-(?:train|evaluate|paper)(?! [a-z])|'
         r'pip3? install |torchrun |accelerate |voila |jupyter[ -]|tensorboard |'
         r'git (?:clone|lfs|pull|checkout|config) ?|'
         r'ffmpeg |ffprobe |'
         r'pytest|nbdev_\w+|apt-get |brew |conda |uv |curl |wget |cd [.\w]|'
         rf'export [A-Z]|source \S+/|unzip \S+\.zip|tar -|make (?:{"|".join(TARGETS)})\b')
BEGINS = rf'(?:[A-Z][A-Z_]+=\S+ )*(?:{WORDS})'
INSIDE = re.compile(rf'(?<![\w/.`-])({BEGINS}[^\n]*?)(?=;|\s\(|`|</|\s{{2,}}|\n|$|, |\. |: |\.$|\.`)')
DRAWN = re.compile('[─│┌└▶►┬┴┘┐▲▼→]')


class Command(NamedTuple):
    text: str
    where: str # the file that prints it


# what is printed

def of_markdown(text):
    "Lines of fenced blocks that are no code of a language and no drawing; inline code that begins as a command does."
    for language, block in re.findall(r'^```(\w*)\n(.*?)^```', text, re.M | re.S):
        if language not in ('', 'sh', 'bash', 'shell', 'console') or DRAWN.search(block): continue
        yield from filter(str.strip, re.sub(r'\s*\\\n\s*', ' ', block).splitlines())
    prose = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
    for _, code in re.findall(r'(`+)(.+?)\1', prose, re.S):
        if re.match(BEGINS, ' '.join(code.split())): yield ' '.join(code.split())

def texts(source): # of a program -> its strings, an expression in them as {it}
    within = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            within |= set(map(id, node.values))
            parts = (v.value if isinstance(v, ast.Constant) else f'{{{ast.unparse(v.value)}}}' for v in node.values)
            yield ''.join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within: yield node.value

def said_in(text): return [m.strip() for m in INSIDE.findall(text)]
def of_program(source): return [c for text in texts(source) for c in said_in(text)]
def of_output(output):
    data = [output.get('text'), *(v for k, v in output.get('data', {}).items() if k in ('text/plain', 'text/markdown'))]
    return [c for text in data for c in said_in(''.join(text or ''))]

def of_notebook(path):
    for cell in json.loads(path.read_text())['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown': yield from of_markdown(source)
        if cell['cell_type'] != 'code': continue
        yield from of_program(re.sub(r'^[%!].*', 'pass', source, flags=re.M))
        for output in cell['outputs']: yield from of_output(output)

def printed(): # -> list of Command, each text once
    found = {}
    def add(path, commands):
        for c in commands: found.setdefault(' '.join(bare(c).split()), str(path.relative_to(root)))
    for path in sorted([*root.glob('*.md'), *root.glob('*/*.md')]):
        if path.parts[len(root.parts)] not in ('.venv', '_docs', 'data'): add(path, of_markdown(path.read_text()))
    for path in sorted((root / 'nbs').rglob('*.ipynb')): add(path, of_notebook(path))
    for path in sorted(p for d in ('data_prep', 'checkpoints', '.ci') for p in (root / d).glob('*.py')):
        add(path, of_program(path.read_text()))
    return [Command(text, where) for text, where in found.items()]

def bare(text): # the command without the remark behind it
    return re.split(r'\s+#\s', text)[0].strip()


# a clone, and what lies beside it

def clone(to):
    "What git would bring: every file that it tracks, as it is now; no folder that holds none of them."
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=root, capture_output=True, text=True)
    skip = ('.venv', 'data', '_docs', '.git')
    found = [p for p in listed.stdout.split('\0') if p] or [ # from an archive, without git
        str(p.relative_to(root)) for p in root.rglob('*') if p.is_file() and p.relative_to(root).parts[0] not in skip]
    for name in found:
        if not (root / name).is_file(): continue
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, to / name)
    return to

def vq_f8(folder): # -> folder: a first stage with the sizes of LDM's, of few channels
    import diffusers, torch
    torch.manual_seed(0)
    blocks = dict(down_block_types=['DownEncoderBlock2D'] * 4, up_block_types=['UpDecoderBlock2D'] * 4)
    sizes = dict(block_out_channels=[8] * 4, layers_per_block=1, norm_num_groups=4)
    model = diffusers.VQModel(**blocks, **sizes, latent_channels=4, num_vq_embeddings=16, vq_embed_dim=4)
    model.save_pretrained(folder)
    return folder

def ckpt(path):
    import torch
    from original_vq import Original, lightning
    torch.manual_seed(0)
    torch.save(lightning(Original()), path)
    return path

DATA = { # placeholder, or the dataset for which a placeholder stands -> who makes it
    'mug': lambda to: fixtures_video.make_mug(to),
    'mine': lambda to: fixtures_video.make_films(to),
    'taichi_hd': lambda to: fixtures_video.make_taichi(to),
    'voxceleb': lambda to: fixtures_video.make_voxceleb(to),
    'celebv_hq': lambda to: fixtures_video.make_celebv(to),
    'london': lambda to: fixtures_video.make_london(to),
    'grid': lambda to: fixtures_video.make_grid(to),
    'sprites': lambda to: fixtures.make_sprite_sheets(to),
    'timit': lambda to: fixtures_speech.make_timit(to),
    'librispeech': lambda to: (fixtures_speech.make_librispeech(to, range(10, 30), seconds=5), to)[1],
    'fsdd': lambda to: fixtures_speech.make_fsdd(to)}


# running one

# Budgets: what is laid over the words of a command, so that it takes seconds.
SMALL = dict(n_clips=24, pairs=2, batch_size=2)
PAPER = dict(base=16, hidden=32, n_frames=2, n_steps=3) # a model of Table 4, made small
WHOLE = {'sprites', 'librispeech', 'fsdd', 'timit'} # datasets that are always taken whole
PAPER_NOTEBOOKS = [p.stem for p in (root / 'nbs/paper').glob('*.ipynb')]
FEW = dict(n_clips=24, pairs=2, n_frames=2, n_steps=2, seeds=1)
BUDGETS = {
    'train': dict(SMALL, steps=2),
    'train_prior': dict(n_clips=16, n_encoded=32, steps=3, hidden=16, batch_size=4, n_drawn=64, n_judged=4, compare=0),
    'train_judge': dict(n_clips=24, n_frames=8, steps=2, batch_size=2, swaps=8),
    'train_first_stage': dict(size=32, n_clips=16, steps=3, minutes=0., batch_size=2),
    'latents': dict(train=3, test=2, steps=2, pairs=2, costs=False),
    'ablation': dict(steps=2, pairs=2, n_clips=24, seeds='0', variants='default'),
    'evaluate': FEW,
    'verification': {},
    **{name: dict(n_steps=2, panels=1, pairs=2) for name in PAPER_NOTEBOOKS}}
NEEDS = { # a path or a dataset in the words -> the printed command that makes it
    r'data/mug|dataset mug': 'python data_prep/mug.py FOLDER',
    r'dataset mine|data/mine': 'python data_prep/folder.py MY_VIDEOS --name mine --faces --cuts',
    r'data/london ': 'python data_prep/london.py FOLDER --out data/london',
    r'data/london32 ': 'python data_prep/london.py FOLDER --size 32 --out data/london32',
    r'data/grid ': 'python data_prep/grid.py FOLDER --out data/grid',
    r'start runs/london_first': 'diffsda-train --dataset london --data_dir data/london --preset cartoon64',
    r'data/voxceleb |dataset voxceleb': 'python data_prep/voxceleb.py FOLDER --out data/voxceleb',
    r'dataset voxceleb|data/voxceleb_latents':
        'python data_prep/encode_latents.py data/voxceleb --first_stage data/vq-f8',
    r'runs/cartoon_vq$|data/NAME_latents': 'papermill nbs/train_first_stage.ipynb runs/cartoon_vq.ipynb --cwd nbs',
    r'data/NAME ': 'python data_prep/cartoon.py .',
    r'data/NAME_latents': 'python data_prep/encode_latents.py data/NAME --first_stage runs/cartoon_vq',
    r'model \.\./runs/mug': 'papermill nbs/train.ipynb runs/mug.ipynb -p dataset mug',
    r'run \.\./runs/librispeech': 'diffsda-train --dataset librispeech --data_dir PATH',
    r'model runs/mug': 'papermill nbs/train.ipynb runs/mug.ipynb -p dataset mug',
    r'model runs/demo': 'diffsda-train --dataset cartoon --run runs/demo',
    r'judge_cartoon.ipynb .*resume': 'papermill nbs/train_judge.ipynb runs/judge_cartoon.ipynb --cwd nbs',
    r'^(?!diffsda).*--resume': 'diffsda-train --dataset cartoon'}

def parameters(notebook): # Path -> names of its parameters cell
    cells = json.loads(notebook.read_text())['cells']
    cell = next(c for c in cells if 'parameters' in c['metadata'].get('tags', []))
    return {t.id for node in ast.parse(''.join(cell['source'])).body for t in node.targets}

class Clone:
    "A fresh clone, in which commands run as they are printed, each once; what a command needs is run before it."
    def __init__(self, folder, # empty Path
                 long=False):  # each in an interpreter of its own, in place of this process
        self.home, self.aside, self.long, self.done = folder / 'clone', folder / 'aside', long, {}
        clone(self.home)
        self.had = {p for p in self.home.rglob('*') if p.is_dir()}

    def data(self, kind): # key of DATA -> its folder
        read = self.long or kind in ('mug', 'mine', 'voxceleb', 'london', 'grid') # else only the words are looked at
        if read and not (self.aside / kind).exists(): DATA[kind](self.aside / kind)
        return str(self.aside / kind)

    def words(self, text):
        "The words of a command, what stands for the reader's own files put in."
        words = [w for w in shlex.split(text) if w != 'FLAGS']
        known = dict(MY_VIDEOS='mine', PATH_TO_SHEETS='sprites', PATH_TO_LIBRISPEECH='librispeech')
        for i, word in enumerate(words):
            if word in known: words[i] = self.data(known[word])
            elif word in ('PATH', 'FOLDER'): words[i] = self.data(self.kind(words))
            else: words[i] = re.sub(r'\bNAME(?=_|$)', 'cartoon', word)
        assert not [w for w in words if re.fullmatch('[A-Z_]{2,}', w)], 'a placeholder that nobody fills'
        return words

    def kind(self, words): # which data PATH or FOLDER stand for
        if 'dataset' in words: return words[words.index('dataset') + 1]
        if '--dataset' in words: return words[words.index('--dataset') + 1]
        if 'nbs/verification.ipynb' in words: return 'librispeech'
        stem = Path(next(w for w in words if w.endswith('.py'))).stem
        return 'mine' if stem == 'folder' else stem

    def run(self, text): # -> what it says
        "Run a command and what it needs. Fails where it fails."
        if text in self.done: return self.done[text]
        if '--resume' not in text: shutil.rmtree(self.home / 'runs', ignore_errors=True)
        (self.home / 'runs').mkdir(exist_ok=True)
        for pattern, needed in NEEDS.items() if self.long else ():
            if re.search(pattern, text) and needed != text and not self.circular(text, needed): self.run(needed)
        if self.long and re.match('diffsda-train .*--resume', text): # what is continued is begun
            self.run(re.sub(r' --resume| --steps \d+', '', text))
        words = self.words(text)
        while re.fullmatch(r'[A-Z_]+=\S+', words[0]): words = words[1:]
        name = Path(words[0]).name
        how = {'papermill': self.papermill, 'diffsda-train': self.train, 'diffsda-evaluate': self.evaluate,
               'diffsda-paper': self.paper,
               'python': self.program, 'make': self.make, 'pip': self.pip}.get(name, self.tool)
        said = how(words)
        if not self.long or text.startswith('python data_prep'): self.done[text] = said
        return said

    def circular(self, text, needed): # what makes a thing does not need it
        order = list(NEEDS.values())
        return text in order and order.index(text) <= order.index(needed)

    def process(self, words):
        "In an interpreter of its own, as in a terminal."
        env = {**os.environ, 'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
               'PYTHONPATH': str(self.home), 'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'Agg', 'HF_HUB_OFFLINE': '1'}
        how = dict(capture_output=True, text=True, timeout=900)
        done = subprocess.run(list(map(str, words)), cwd=self.home, env=env, **how)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout + done.stderr

    def here(self, act): # function without arguments -> what it prints
        "In this process."
        said, old = io.StringIO(), os.getcwd()
        os.chdir(self.home)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said): act()
        finally: os.chdir(old)
        return said.getvalue()

    def papermill(self, words):
        notebook, out, options = self.home / words[1], self.home / words[2], words[3:]
        assert notebook.is_file() and out.suffix == '.ipynb' and out.parent in self.had
        where = options[options.index('--cwd') + 1] if '--cwd' in options else '.'
        assert (self.home / where).is_dir()
        given = {options[i + 1]: options[i + 2] for i, word in enumerate(options) if word == '-p'}
        if '…' in given.values(): given = dict(model='../checkpoints/cartoon64', dataset='cartoon', out='../runs/p')
        unknown = set(given) - parameters(notebook)
        assert not unknown, f'{unknown}: no parameters of {notebook.name}'
        if notebook.stem in ('train', 'evaluate'):
            from diffsda.settings import EvaluationSettings, Settings, read_settings
            read_settings(given, Settings if notebook.stem == 'train' else EvaluationSettings)
        if not self.long: return ''
        values = {k: v for k, v in BUDGETS[notebook.stem].items() if k in parameters(notebook)}
        if notebook.stem == 'train' and given.get('dataset') in WHOLE: del values['n_clips']
        if notebook.stem == 'train' and given.get('dataset') in ('mug', 'voxceleb'): values |= PAPER
        if notebook.stem == 'train_first_stage' and given.get('dataset') == 'mine': values |= dict(size=64)
        values = [w for k, v in (given | values).items() for w in ('-p', k, str(v))]
        cwd = ['--cwd', where] if '--cwd' in options else []
        return self.process(['papermill', *words[1:3], *cwd, '--no-progress-bar', *values])

    def train(self, words):
        from diffsda.programs import train_options
        from diffsda.settings import read_settings
        read_settings(vars(train_options().parse_args(words[1:])))
        if not self.long: return ''
        budget = {k: v for k, v in SMALL.items() if k != 'n_clips' or not WHOLE & set(words)}
        small = [w for k, v in budget.items() for w in (f'--{k}', str(v))]
        small += ['--steps', '4' if '--resume' in words else '2']
        if {'mug', 'voxceleb'} & set(words): small += [w for k, v in PAPER.items() for w in (f'--{k}', str(v))]
        return self.process([*words, *small])

    def evaluate(self, words):
        from diffsda.programs import evaluate_options
        from diffsda.settings import EvaluationSettings, read_settings
        read_settings(vars(evaluate_options().parse_args(words[1:])), EvaluationSettings)
        if not self.long: return ''
        return self.process([*words, *(w for k, v in FEW.items() for w in (f'--{k}', str(v)))])

    def paper(self, words):
        from diffsda.paper import items_named
        from diffsda.programs import paper_options
        items_named(paper_options().parse_args(words[1:]).only)
        return self.process([*words, '--list']) if self.long else ''

    def program(self, words):
        if words[1] == '-m': return self.module(words[2:])
        if words[1].endswith('/cartoon.py'): words = [*words, '--train', '3', '--test', '2', '--size', '128']
        prepares = words[1].startswith('data_prep/') and 'convert' not in words[1]
        if prepares: words = [*words, '--workers', '0', '--overwrite']
        assert (self.home / words[1]).is_file()
        if words[1].endswith('convert_first_stage.py'): return '' # tests/test_first_stage.py runs it
        if 'encode' in words[1] and not self.long: return self.options(words)
        if 'data/vq-f8' in words and not (self.home / 'data/vq-f8').exists(): vq_f8(self.home / 'data/vq-f8')
        if self.long: return self.process([sys.executable, *words[1:]])
        result = []
        said = self.here(lambda: result.extend(fixtures.run_here(words[1:])))
        assert result[1] in (0, 3), result[0]
        return said + result[0]

    def options(self, words): # those that its --help lists
        said = self.here(lambda: print(fixtures.run_here([words[1], '--help'])[0]))
        assert [w for w in words if w.startswith('--') and w not in said] == []
        return said

    def module(self, words): # python -m
        if self.long: return self.process([sys.executable, '-m', *words])
        self.run('python data_prep/mug.py FOLDER')
        return self.here(lambda: importlib.import_module(words[0]).main(words[1:]))

    def make(self, words): return self.process(['make', '-n', *words[1:]])
    def pip(self, words):
        "Its extras are those of pyproject.toml, its files are there."
        extras = tomllib.loads((self.home / 'pyproject.toml').read_text())['project']['optional-dependencies']
        for word in words:
            for name in filter(None, re.sub(r'.*\[|\].*|^[^[]*$', '', word).split(',')): assert name in extras
        if '-c' in words: assert (self.home / words[words.index('-c') + 1]).is_file()
        return ''

    def tool(self, words): # a program of the environment
        assert words[0] in ('jupyter', 'pytest', 'cd', 'export'), f'{words[0]}: not known here; run it, or say why not'
        return ''
