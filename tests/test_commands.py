"""Every command that is printed anywhere runs as printed, in a fresh clone; or a reason says why it cannot here."""
import ast, contextlib, importlib, io, json, re, shutil, sys, tomllib
from pathlib import Path
import pytest
from fixtures_commands import Clone, bare, of_program, printed, root, said_in

COMMANDS = printed()
ELSEWHERE = { # a command that is not run here, and why; each must be printed somewhere
    r'git (clone|lfs)': 'fetches from a network',
    r'ffmpeg -i IN': 'an external program, with a file of the reader',
    r'.*\{': 'the strings that it becomes are tested below, as they are printed',
    r'(ACCELERATE_USE_CPU=true )?torchrun|accelerate launch': 'tests/test_training.py::test_two_processes',
    r'pip install (?!-c constraints.txt -e)': 'installs packages',
    r'python checkpoints/train_cartoon64.py': 'tests/test_gpu_script.py::test_from_faces_to_numbers',
    r'python checkpoints/cost_of_latents.py': 'five minutes and 5 GB'}

def reason(text): return next((why for pattern, why in ELSEWHERE.items() if re.match(pattern, text)), None)
RUN = [c for c in COMMANDS if reason(c.text) is None]

@pytest.fixture(scope='module')
def place(tmp_path_factory): return Clone(tmp_path_factory.mktemp('commands'))

@pytest.mark.parametrize('text', [c.text for c in RUN])
def test_runs_as_printed(text, place): place.run(text)
