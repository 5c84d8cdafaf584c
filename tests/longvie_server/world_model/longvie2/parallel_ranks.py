"""One process of several that make clips together; writes the latents that it got."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from longvie_server.world_model.longvie2.checkpoint import load_checkpoint
from longvie_server.world_model.longvie2.parallel import parallelise
from longvie_server.world_model.longvie2.sampler import Conditions, denoise, mix_first_latent, set_steps, unified_noise

__all__ = ["make_clip"]

FRAMES, ROWS, COLUMNS = 5, 4, 8


def make_clip(folder: Path, *, history: bool, guidance_scale: float, together: bool) -> Tensor:
    """Two steps of a clip, by this process alone or together with the others of its group."""
    pipeline = load_checkpoint(folder)
    generator = torch.Generator().manual_seed(5)

    def random(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator)

    config = pipeline.transformer.config
    conditions = Conditions(
        text=random(1, 512, config.text_dim),
        negative_text=random(1, 512, config.text_dim),
        image=random(1, 5, config.image_dim),
        image_latents=random(1, 20, FRAMES, ROWS, COLUMNS),
        dense=random(1, 36, FRAMES, ROWS, COLUMNS),
        sparse=random(1, 36, FRAMES, ROWS, COLUMNS),
        history=random(1, 16, 2, ROWS, COLUMNS) if history else None,
    )
    guidance = parallelise(pipeline.transformer, guided=guidance_scale != 1) if together else None
    steps = denoise(
        pipeline.transformer,
        set_steps(pipeline.scheduler, 2, torch.device("cpu")),
        noise=mix_first_latent(unified_noise((1, 16, FRAMES, ROWS, COLUMNS), 3), conditions.history),
        conditions=conditions,
        guidance_scale=guidance_scale,
        guidance=guidance,
    )
    return list(steps)[-1]


def main() -> None:
    folder, meeting_point, out, rank, processes, *cases = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=int(rank), world_size=int(processes))
    for case in cases:
        history, guidance_scale = case.split(",")
        made = make_clip(Path(folder), history=history == "True", guidance_scale=float(guidance_scale), together=True)
        torch.save(made, f"{out}.{case}.{rank}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
