"""Devices, the stored configuration, and the choice by measurement."""

from __future__ import annotations

import dataclasses
import platform

import pytest
import torch

from striate.errors import ModelError, ResourceError, UsageError
from striate.train import machine
from striate.train.machine import Configuration, select_device, thread_count

START = Configuration(device="cpu", threads=1)


def test_auto_is_what_is_there():
    assert select_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert select_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "meta", "xpu"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(
        ResourceError, match=f"`device` '{name}' is not on this machine. Use --device cpu or --device auto"
    ):
        select_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_a_device_that_nobody_knows(name):
    with pytest.raises(UsageError, match="`device` must be auto, cpu, cuda, cuda:N or mps, got"):
        select_device(name)


def test_configuration_there_and_back():
    configuration = Configuration(device="cuda", channels_last=True, bf16=True, threads=3)
    assert Configuration.from_dict(configuration.to_dict()) == configuration
    assert configuration.describe() == "cuda, bf16, channels_last, 3 threads"
    assert Configuration(compile=True, fused_optimizer=False).describe() == (
        "cpu, float32, channels_first, compiled, unfused optimizer, 1 thread"
    )


@pytest.mark.parametrize("values", [{}, START.to_dict() | {"tpu": 1}])
def test_configuration_with_other_keys(values):
    with pytest.raises(
        ModelError, match=r"`machine` must have the keys bf16, .*Compare the config.json of another run"
    ):
        Configuration.from_dict(values)


def test_autocast_is_off_without_bf16():
    weight = torch.ones(2, 2)
    with START.autocast():
        assert (weight @ weight).dtype == torch.float32
    with dataclasses.replace(START, bf16=True).autocast():
        assert (weight @ weight).dtype == torch.bfloat16


def test_thread_count_is_set_back():
    before = torch.get_num_threads()
    with thread_count(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_the_machine_is_described_in_plain_types():
    import json

    described = json.loads(json.dumps(machine.describe_machine()))
    assert described["versions"]["torch"] == torch.__version__
    assert described["cores"] >= 1


def test_keep_freed_memory_says_what_it_did():
    assert machine.keep_freed_memory() is (platform.libc_ver()[0] == "glibc")
