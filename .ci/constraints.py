"""constraints.txt from the environment this runs in: every package that the extras of pyproject.toml pull in, pinned.

    .venv/bin/python .ci/constraints.py > constraints.txt

A pin whose package asks for a newer Python than our oldest gets a marker, so that it binds only where it can be met."""
import re, sys, tomllib
from importlib import metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as canonical

project = tomllib.load(open('pyproject.toml', 'rb'))['project']
version = lambda text: (*map(int, re.findall(r'\d+', text)), 0, 0)[:3]
oldest = version(project['requires-python'])
extras = {k: v for k, v in project['optional-dependencies'].items() if k != 'paper-perception'} # not installed here

def wanted(lines, asked=('',)):
    "The requirements among `lines` that hold here, when a package is asked for with the extras `asked`."
    reqs = [Requirement(line) for line in lines]
    return [r for r in reqs if not r.marker or any(r.marker.evaluate({'extra': e}) for e in asked)]

pins = {canonical(project['name']): {'', *extras}}
todo = wanted(sum(extras.values(), project['dependencies']))
while todo:
    req = todo.pop()
    name, asked = canonical(req.name), {'', *req.extras}
    if asked <= pins.get(name, set()): continue
    pins[name] = pins.get(name, set()) | asked
    todo += wanted(metadata.requires(name) or [], pins[name])
del pins[canonical(project['name'])]

print(f'''# The tested set, on Python {sys.version_info.major}.{sys.version_info.minor}.
# `make` installs with it (pip install -c constraints.txt); plain pip works without it.
# Made by `python .ci/constraints.py > constraints.txt` in the environment in which every test passed: the versions
# installed there of all that pyproject.toml's extras need, directly or through others. torch stands without its local
# part (+cpu), so that a GPU machine takes the registry's CUDA build of the same version.''')
for name in sorted(pins):
    dist = metadata.distribution(name)
    lower = max(re.findall(r'>=?\s*(3[.\d]*\d)', dist.metadata['Requires-Python'] or ''), key=version, default='3')
    marker = f" ; python_full_version >= '{lower}'" if version(lower) > oldest else ''
    print(f"{name}=={dist.version.split('+')[0]}{marker}")
