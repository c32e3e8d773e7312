"""Navigation of the notebooks: contents of the long ones, previous · index · next under each, links to what is named.

    .venv/bin/python .ci/navigate.py            write it into the notebooks
    .venv/bin/python .ci/navigate.py --check    say what is missing, exit code 1

It touches markdown cells only, so executed outputs stay as they are."""
import json, re, sys
from pathlib import Path

nbs = Path(__file__).resolve().parent.parent / 'nbs'
SECTIONS = { # the order of reading, not of numbers: the model comes before the data that one needs
    'Start': 'index train results',
    'Factors and probability': '00_factors 01_viz 02_probability',
    'The mathematics': '10_sde 11_edm 12_samplers 13_few_steps',
    'The networks': '20_layers 21_unet 22_encoder 23_mlp',
    'Model and training': '40_presets 41_model 46_augmentation 42_training ablation',
    'New clips, hidden factors': '50_prior train_prior 51_traversal 52_explorer explorer',
    'Measuring': '60_metrics 58_detectors 62_perception 61_judge train_judge 64_protocol 68_evaluation evaluate '
                 'real_faces 67_msd 59_reader 63_verification verification 66_prior_evaluation',
    'The paper, whole': '71_figures 72_paper',
    'The other methods': '45_baselines methods add_a_method',
    'Data': '24_faces 32_toys 33_sprites 25_sound 35_vowels 36_speech',
    'Preparing data': '30_codec 31_clips 34_video 37_morphs 38_preparation 39_datasets',
    'High resolution': '26_first_stage train_first_stage latents',
    'Running experiments': '03_files 43_settings 44_pace 65_experiment 73_programs 74_bench',
}
ORDER = ' '.join(SECTIONS.values()).split()
LONG = 36 # cells: from here on a notebook opens with its contents
MARK = '**Contents:** '
RULE = '---\n\n[' # how the last cell begins

def source(cell): return ''.join(cell['source'])
def markdown(cells): return [c for c in cells if c['cell_type'] == 'markdown']
def title(cells): return re.search(r'^# (.+)$', '\n'.join(map(source, markdown(cells))), re.M)[1].strip()
def anchor(heading): return re.sub(r'\s', '-', heading.strip())

def outside_code(pattern, replace, text):
    "Substitute where no code block stands."
    parts = re.split(r'(^```.*?^```|^    \S.*?$)', text, flags=re.M | re.S)
    return ''.join(p if i % 2 else re.sub(pattern, replace, p) for i, p in enumerate(parts))

def linked(text, here, titles):
    "The file name of another notebook in backticks, as a link."
    def to(m):
        name = m[1]
        if name not in titles or name == here: return m[0]
        words = titles[name] if name[0].isdigit() else f'{name}.ipynb'
        return f'[{words}]({name}.ipynb)'
    return outside_code(r'(?<!\[)`(?:nbs/)?(\w+)\.ipynb`(?!\])', to, text)

def contents(cells):
    heads = [h for c in markdown(cells) for h in re.findall(r'^## (.+)$', source(c), re.M)]
    return MARK + ' · '.join(f'[{re.sub("[`*]", "", h)}](#{anchor(h)})' for h in heads)

def footer(name, names, titles):
    at = names.index(name)
    parts = []
    if at: parts.append(f'[← {titles[names[at - 1]]}]({names[at - 1]}.ipynb)')
    if name != 'index': parts.append('[Index](index.ipynb)')
    if at + 1 < len(names): parts.append(f'[{titles[names[at + 1]]} →]({names[at + 1]}.ipynb)')
    return '---\n\n' + ' · '.join(parts)

def made_here(cell): return cell['cell_type'] == 'markdown' and source(cell).startswith((MARK.strip(), RULE))
def new_cell(id, text): return dict(cell_type='markdown', id=id, metadata={}, source=text.splitlines(True))

def navigate(name, nb, names, titles):
    cells = nb['cells'] = [c for c in nb['cells'] if not made_here(c)]
    for c in markdown(cells): c['source'] = linked(source(c), name, titles).splitlines(True)
    if len(cells) >= LONG:
        at = next(i for i, c in enumerate(cells) if c['cell_type'] == 'markdown' and re.search(r'^# ', source(c), re.M))
        cells.insert(at + 1, new_cell(f'{name[:12]}-contents', contents(cells)))
    cells.append(new_cell(f'{name[:12]}-nav', footer(name, names, titles)))
    return nb

def main(check=False):
    found = {p.stem: json.loads(p.read_text()) for p in nbs.glob('*.ipynb')}
    unknown = sorted(set(found) - set(ORDER))
    if unknown: sys.exit(f'.ci/navigate.py: {", ".join(unknown)} has no place in SECTIONS')
    names = [n for n in ORDER if n in found]
    titles = {n: title(nb['cells']) for n, nb in found.items()}
    stale = []
    for name, nb in found.items():
        path = nbs / f'{name}.ipynb'
        text = json.dumps(navigate(name, nb, names, titles), indent=1, sort_keys=True, ensure_ascii=False) + '\n'
        if text == path.read_text(): continue
        stale.append(name)
        if not check: path.write_text(text)
    if check and stale: sys.exit(f'run .ci/navigate.py: the navigation of {", ".join(sorted(stale))} is not up to date')

if __name__ == '__main__': main('--check' in sys.argv[1:])
