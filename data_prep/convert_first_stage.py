"""LDM's original first stage (a Lightning .ckpt) to a folder of safetensors, once.

CKPT is model.ckpt of vq-f8-n256 (https://github.com/CompVis/latent-diffusion, model zoo; unzip what comes), or of kl-f8
(--kind kl-f8). No code in it is run. data_prep/encode_latents.py then takes the folder as --first_stage.
"""
import argparse, os, sys, tempfile
from diffsda.factors import BadInput, refuse
from diffsda.first_stage import KINDS, LEFT_OUT, convert, read_ckpt, save_stage
from diffsda.files import expanded, fingerprint

def save_whole(stage, out): # FirstStage, Path of a folder that is not there yet
    "Write the folder under a temporary name first."
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f'.{out.name}.') as whole:
        save_stage(stage, f'{whole}/stage')
        os.rename(f'{whole}/stage', out)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog='exit code: 0 the folder was written; 1 it was not')
    kinds = [k for k in KINDS if 'small' not in k]
    p.add_argument('ckpt', metavar='CKPT', help='the file')
    p.add_argument('--kind', default='vq-f8', choices=kinds,
                   help="which first stage it is (default: vq-f8, the paper's)")
    p.add_argument('--out', default='', help='folder to be made (default: data/KIND)')
    args = p.parse_args()
    out = args.out or f'data/{args.kind}'
    try:
        out, ckpt = expanded(out), expanded(args.ckpt)
        if out.exists(): refuse(out, 'is there already', '', 'name another folder (--out), or delete it')
        state = read_ckpt(ckpt)
        stage = convert(state, args.kind, ckpt)
        save_whole(stage, out)
    except BadInput as e: sys.exit(f'{p.prog}: {e}')
    except OSError as e:
        sys.exit(f'{p.prog}: {out}: cannot be written ({e.strerror}); free some space, or name another folder (--out)')
    left = [k for k in state if k.startswith(LEFT_OUT)]
    print(f'{out}: {args.kind}, fingerprint {fingerprint(stage)}; {len(state) - len(left)} weights taken, '
          f'{len(left)} of the training left out')

if __name__ == '__main__': main()
