"""The working behind the numbers, and what single kernels do to a picture.

Everything here is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names

if TYPE_CHECKING:
    from striate.work.convolution import conv as conv
    from striate.work.counting import parameters as parameters
    from striate.work.deblurring import blur as blur
    from striate.work.deblurring import deblur as deblur
    from striate.work.deblurring import defocus_kernel as defocus_kernel
    from striate.work.deblurring import lens_sheet as lens_sheet
    from striate.work.deblurring import psnr as psnr
    from striate.work.detectors import detect as detect
    from striate.work.detectors import detector_sheet as detector_sheet
    from striate.work.detectors import list_detectors as list_detectors
    from striate.work.filtering import filter_image as filter_image
    from striate.work.filtering import gallery as gallery
    from striate.work.geometry import output_size as output_size
    from striate.work.geometry import receptive_field as receptive_field
    from striate.work.kernels import Kernel as Kernel
    from striate.work.kernels import kernel as kernel
    from striate.work.kernels import list_kernels as list_kernels
    from striate.work.kernels import parse_kernel as parse_kernel
    from striate.work.layers import batch_norm as batch_norm
    from striate.work.layers import dense as dense
    from striate.work.network import unfold as unfold
    from striate.work.page import save_page as save_page
    from striate.work.pooling import pool as pool
    from striate.work.properties import PropertyReport as PropertyReport
    from striate.work.properties import list_properties as list_properties
    from striate.work.properties import measure_properties as measure_properties
    from striate.work.scores import cross_entropy as cross_entropy
    from striate.work.scores import softmax as softmax
    from striate.work.sheet import Panel as Panel
    from striate.work.sheet import Sheet as Sheet
    from striate.work.typed import parse_array as parse_array

_HOMES = {
    "Kernel": "kernels",
    "Panel": "sheet",
    "PropertyReport": "properties",
    "Sheet": "sheet",
    "batch_norm": "layers",
    "blur": "deblurring",
    "conv": "convolution",
    "cross_entropy": "scores",
    "deblur": "deblurring",
    "defocus_kernel": "deblurring",
    "dense": "layers",
    "detect": "detectors",
    "detector_sheet": "detectors",
    "filter_image": "filtering",
    "gallery": "filtering",
    "kernel": "kernels",
    "lens_sheet": "deblurring",
    "list_detectors": "detectors",
    "list_kernels": "kernels",
    "list_properties": "properties",
    "measure_properties": "properties",
    "output_size": "geometry",
    "parameters": "counting",
    "parse_array": "typed",
    "parse_kernel": "kernels",
    "pool": "pooling",
    "psnr": "deblurring",
    "receptive_field": "geometry",
    "save_page": "page",
    "softmax": "scores",
    "unfold": "network",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
