"""A plan as text: one row a kernel, at most 100 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate.engine._instructions import Instruction, Scope
from striate.engine._lanes import Lanes

if TYPE_CHECKING:
    from striate.engine.plan import Plan
    from striate.engine.single import SinglePlan

__all__ = ["plan_text"]

SCOPES = {Scope.BLOCK: "block", Scope.CHUNK: "chunk", Scope.WHOLE: "batch"}


def plan_text(plan: Plan | SinglePlan) -> str:
    """Return the stages of a plan, their kernels, and for each image its multiply-adds and its memory traffic."""
    width = plan.block_images
    blocks = f"blocks of {width} images" if width > 1 else "one image after the other"
    lines = [f"{plan.machine.isa}: {blocks}, {len(plan.stages)} stages"]
    macs = moved = 0
    for number, stage in enumerate(plan.stages):
        which = "forward" if number < plan.forward_stages else "backward"
        lines.append(f"stage {number} ({which}, {'whole batch' if stage.is_whole else 'chunk after chunk'})")
        for instruction in stage.instructions:
            size = _bytes_an_image(instruction, plan)
            macs, moved = macs + instruction.macs, moved + size
            count = f"{instruction.macs:>13,} multiply-adds" if instruction.macs else " " * 27
            lines.append(
                f"  {instruction.name:<22}{instruction.label[:29]:<30}{SCOPES[instruction.scope]:<6}{count}"
                + (f"{size:>11,} B" if size else "")
            )
    lines.append(f"an image: {macs:,} multiply-adds, {moved:,} bytes read and written")
    return "\n".join(line.rstrip() for line in lines)


def _bytes_an_image(instruction: Instruction, plan: Plan | SinglePlan) -> int:
    width = plan.machine.width
    return sum(lanes.bytes(width) // plan.block_images for lanes in instruction.read if isinstance(lanes, Lanes))
