"""Every command that is printed anywhere fits the programs, in a fresh clone; or a reason says why it is not tried.

Programs of data_prep run on tiny files. Trainings and notebooks: their words are checked here, `--long` runs them."""
import re
import pytest
from fixtures_commands import Clone, printed, root

COMMANDS = printed()
ELSEWHERE = { # a command that is not run here, and why; each must be printed somewhere
    r'git (clone|lfs)': 'fetches from a network',
    r'ffmpeg -i IN': 'an external program, with a file of the reader',
    r'python data_prep/sprites.py FOLDER --fetch': 'fetches from a network',
    r'.*\{': 'what it becomes depends on a run',
    r'(ACCELERATE_USE_CPU=true )?torchrun|accelerate launch': 'two processes: tests/test_training.py',
    r'pip install ': 'installs packages',
    r'python checkpoints/train_cartoon64.py': 'tests/test_gpu_script.py::test_from_faces_to_numbers',
    r'python checkpoints/cost_of_latents.py': 'five minutes and 5 GB',
    r'voila |tensorboard ': 'opens a server',
    r'DIFFSDA_SCREENSHOT': 'opens a browser: tests/test_explorer.py',
    r'python -m diffsda.clips( FOLDER)?$|python data_prep/encode_latents.py$|diffsda-(train|evaluate|paper)$':
        'a name, no words',
    r'.* --first_stage vq ': 'an output of notebook 39, on a folder of its own',
    r'.*(--between 800|data/london800)': 'photographs with landmarks: tests/test_real_faces.py',
    r'nbdev_': 'works on the whole repository'}

def reason(text): return next((why for pattern, why in ELSEWHERE.items() if re.match(pattern, text)), None)
RUN = [c.text for c in COMMANDS if reason(c.text) is None]

@pytest.fixture(scope='module')
def place(tmp_path_factory): return Clone(tmp_path_factory.mktemp('commands'))

@pytest.fixture(scope='module')
def terminal(tmp_path_factory): return Clone(tmp_path_factory.mktemp('terminal'), long=True)

@pytest.mark.parametrize('text', RUN)
def test_fits(text, place): place.run(text)

@pytest.mark.long
@pytest.mark.parametrize('text', RUN)
def test_runs_as_printed(text, terminal): terminal.run(text)

def test_every_reason_is_needed():
    assert [p for p in ELSEWHERE if not any(re.match(p, c.text) for c in COMMANDS)] == []

def test_the_promises_are_held():
    "Every test that the table of the README names exists."
    table = re.findall(r'`(tests/\w+\.py)::(\w+)`', (root / 'README.md').read_text())
    missing = [f'{file}::{name}' for file, name in table if f'def {name}(' not in (root / file).read_text()]
    assert len(table) == 10 and missing == []

def test_hints_name_options_that_exist(place):
    "Of sentences that a program fills in, like `encode_latents.py {out} --first_stage {stage}`."
    hints = [c.text.split() for c in COMMANDS if re.match(r'python data_prep/\w+\.py .*\{', c.text)]
    assert len(hints) >= 2
    for words in hints: place.options(words)
