"""Data: sources, decoding, splits, augmentation and batches. Names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names

if TYPE_CHECKING:
    from striate.data.augment import Augmentation as Augmentation
    from striate.data.batches import Batch as Batch
    from striate.data.batches import Batches as Batches
    from striate.data.decoding import decode as decode
    from striate.data.download import fetch as fetch
    from striate.data.folder import find_images as find_images
    from striate.data.loading import load as load
    from striate.data.named import NAMES as NAMES
    from striate.data.preprocess import Preprocessing as Preprocessing
    from striate.data.preprocess import statistics as statistics
    from striate.data.random import derive_seed as derive_seed
    from striate.data.random import permutation as permutation
    from striate.data.random import uniform as uniform
    from striate.data.resize import resize_short_side as resize_short_side
    from striate.data.splits import Dataset as Dataset
    from striate.data.splits import Source as Source
    from striate.data.splits import Splits as Splits
    from striate.data.splits import stratified_split as stratified_split
    from striate.data.store import Canvas as Canvas
    from striate.data.store import ImageStore as ImageStore
    from striate.data.store import MappedStore as MappedStore
    from striate.data.store import MemoryStore as MemoryStore
    from striate.data.store import SubsetStore as SubsetStore
    from striate.data.store import VectorStore as VectorStore

_HOMES = {
    "Augmentation": "augment",
    "Batch": "batches",
    "Batches": "batches",
    "Canvas": "store",
    "Dataset": "splits",
    "ImageStore": "store",
    "MappedStore": "store",
    "MemoryStore": "store",
    "NAMES": "named",
    "Preprocessing": "preprocess",
    "Source": "splits",
    "Splits": "splits",
    "SubsetStore": "store",
    "VectorStore": "store",
    "decode": "decoding",
    "derive_seed": "random",
    "fetch": "download",
    "find_images": "folder",
    "load": "loading",
    "permutation": "random",
    "statistics": "preprocess",
    "resize_short_side": "resize",
    "stratified_split": "splits",
    "uniform": "random",
}

__all__ = sorted(_HOMES)


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
