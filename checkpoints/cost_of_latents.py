"""What the paper's presets on latents cost: memory and seconds on this machine's CPU, and an estimate for a GPU.

    python checkpoints/cost_of_latents.py --out cost.json

All weights are random, those of VQ-f8 included: shapes, memory and time are real, the frames would be noise. Each
measurement is a process of its own, so that its peak memory is its own. The largest takes 4.2 GB, all together take
about five minutes. Linux only, as the peak is read from /proc. nbs/latents.ipynb shows the result.
"""
import argparse, json, re, subprocess, sys, tempfile, time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
from diffsda.first_stage import FirstStage, build
from diffsda.model import DiffSDA
from diffsda.presets import PRESETS
from diffsda.toys import CartoonFaces

NAMES = 'voxceleb', 'celebv_hq' # the presets on latents
FRAMES = 5, 10                  # of each of the two clips; two clips are the least that standardising allows
BYTES = 20                      # a parameter in float32: weight, gradient, AdamW's two moments, the moving average
BATCH = 16 * 10                 # frames of the paper's batch

def peak_gb(): # of this process
    return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1]) / 2 ** 20

def timed(work): # a function without arguments -> its result, seconds
    began = time.time()
    return work(), time.time() - began

def first_stage(latents, t): # file to write; frames a clip -> what was measured
    "Two clips of faces of 256x256 to latents and back, frame by frame."
    stage = FirstStage(build('vq-f8')).eval()
    faces = CartoonFaces('train', 2, 24, size=256).frames[:, :t]
    z, encode_s = timed(lambda: stage.encode(faces, batch=1))
    torch.save(z, latents)
    _, decode_s = timed(lambda: stage.decode(z, batch=1))
    return dict(encode_s=encode_s, decode_s=decode_s, latents=list(z.shape))

def one_step(model, average, optimizer, z):
    "A whole training step: forward, backward, clipping, AdamW, moving average."
    model(*model.prepare_batch(z)).mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.)
    optimizer.step()
    with torch.no_grad(): torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), .001)

def training(latents, t, name): # file of latents; frames a clip; of a preset -> what was measured
    "Two training steps on the latents; then one clip is swapped with the other, in three evaluations, and decoded."
    z = torch.load(latents, weights_only=True)[:, :t]
    model = DiffSDA(replace(PRESETS[name].model, mean=z.mean().item(), std=z.std().item())).train()
    average, optimizer = deepcopy(model), torch.optim.AdamW(model.parameters())
    one_step(model, average, optimizer, z) # from the second step on all of AdamW is in memory
    _, step_s = timed(lambda: one_step(model, average, optimizer, z))
    found = dict(peak_gb=peak_gb(), parameters=sum(p.numel() for p in model.parameters()), step_s=step_s)
    del average, optimizer
    stage = FirstStage(build('vq-f8')).eval()
    swapped, swap_s = timed(lambda: model.eval().swap(z[:1], z[1:], invert=False, n_steps=2))
    frames, decode_s = timed(lambda: stage.decode(swapped, batch=1))
    return found | dict(swap_s=swap_s, decode_s=decode_s, pictures=list(frames.shape))

def measure(part, t, latents): # 'first stage' or a preset; frames a clip; file of latents -> dict
    torch.manual_seed(0)
    found = first_stage(latents, t) if part == 'first stage' else training(latents, t, part)
    return dict(peak_gb=peak_gb()) | found

def in_a_process(part, t, latents):
    "The same, measured by a process of its own. Exits with its last line if it fails."
    command = [sys.executable, __file__, '--part', part, '--frames', str(t), '--latents', latents]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip() or f'ended by signal {-done.returncode}: is there memory enough?'
        sys.exit(f'{part}: {said.splitlines()[-1]}')
    return json.loads(done.stdout.splitlines()[-1])

def estimate(few, many): # what was measured with 5 and with 10 frames a clip -> GB for the paper's batch at bf16
    "The difference is what ten frames' activations take; at bf16 they take half."
    frame = (many['peak_gb'] - few['peak_gb']) / (2 * (FRAMES[1] - FRAMES[0]))
    fixed, running = BYTES * many['parameters'] / 2 ** 30, BATCH * frame / 2
    activations = f'activations of {BATCH} frames at bf16, GB'
    return {'parameters, GB': fixed, activations: running, 'together, GB': fixed + running}

def shown(found): # numbers with one decimal, shapes as text
    return {k: str(v) if isinstance(v, list) else round(v, 1) for k, v in found.items()}

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', default='cost.json', help='JSON file to write (default: cost.json)')
    p.add_argument('--part', choices=('first stage', *NAMES), help='measure this alone, and print it')
    p.add_argument('--frames', type=int, default=FRAMES[1], help='with --part: frames a clip')
    p.add_argument('--latents', default='latents.pt', help='with --part: written by the first, read by the others')
    args = p.parse_args()
    if args.part: return print(json.dumps(measure(args.part, args.frames, args.latents)))
    with tempfile.TemporaryDirectory() as folder:
        latents = f'{folder}/latents.pt'
        found = {('first stage', FRAMES[1]): in_a_process('first stage', FRAMES[1], latents)}
        for name in NAMES:
            for t in FRAMES: found[name, t] = in_a_process(name, t, latents)
    result = dict(measured={f'{name}, 2 x {t} frames': shown(f) for (name, t), f in found.items()},
                  estimate={name: shown(estimate(*(found[name, t] for t in FRAMES))) for name in NAMES})
    Path(args.out).write_text(json.dumps(result, indent=2) + '\n')

if __name__ == '__main__': main()
