"""Seeing inside: what a network's units answer to, what in an image made it answer, and what such pictures are worth.

The package is also the function that writes the pages: ``striate.see("runs/mnist-lenet5", "seven.png")``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names, make_callable

if TYPE_CHECKING:
    from striate.see.attribution import Attribution as Attribution
    from striate.see.class_maps import grad_cam as grad_cam
    from striate.see.gallery import Gallery as Gallery
    from striate.see.gallery import see as see
    from striate.see.gradients import gradient as gradient
    from striate.see.gradients import integrated_gradients as integrated_gradients
    from striate.see.gradients import smoothgrad as smoothgrad
    from striate.see.growth import Evolution as Evolution
    from striate.see.growth import evolution as evolution
    from striate.see.maps import FeatureMaps as FeatureMaps
    from striate.see.maps import feature_maps as feature_maps
    from striate.see.maximizing import Maximized as Maximized
    from striate.see.maximizing import activation_maximization as activation_maximization
    from striate.see.mistaking import Mistakes as Mistakes
    from striate.see.mistaking import mistakes as mistakes
    from striate.see.occluding import Occlusion as Occlusion
    from striate.see.occluding import occlusion as occlusion
    from striate.see.patches import TopPatches as TopPatches
    from striate.see.patches import top_patches as top_patches
    from striate.see.projections import deconvnet as deconvnet
    from striate.see.projections import guided_backprop as guided_backprop
    from striate.see.transforms import Invariance as Invariance
    from striate.see.transforms import invariance as invariance
    from striate.see.trust import METHODS as METHODS
    from striate.see.trust import deletion_insertion as deletion_insertion
    from striate.see.trust import randomization_test as randomization_test
    from striate.see.unit import Unit as Unit
    from striate.see.weights import Filters as Filters
    from striate.see.weights import filters as filters
    from striate.see.weights import hand_made as hand_made
    from striate.see.weights import similarity as similarity

_HOMES = {
    "Attribution": "attribution",
    "Evolution": "growth",
    "FeatureMaps": "maps",
    "Filters": "weights",
    "Gallery": "gallery",
    "Invariance": "transforms",
    "METHODS": "trust",
    "Maximized": "maximizing",
    "Mistakes": "mistaking",
    "Occlusion": "occluding",
    "TopPatches": "patches",
    "Unit": "unit",
    "activation_maximization": "maximizing",
    "deconvnet": "projections",
    "deletion_insertion": "trust",
    "evolution": "growth",
    "feature_maps": "maps",
    "filters": "weights",
    "grad_cam": "class_maps",
    "gradient": "gradients",
    "guided_backprop": "projections",
    "hand_made": "weights",
    "integrated_gradients": "gradients",
    "invariance": "transforms",
    "mistakes": "mistaking",
    "occlusion": "occluding",
    "randomization_test": "trust",
    "see": "gallery",
    "similarity": "weights",
    "smoothgrad": "gradients",
    "top_patches": "patches",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
make_callable(__name__)
