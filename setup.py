"""Builds the C core as ``llamachat._native``, and finds the packages; everything else is in pyproject.toml.

The folders ``themes``, ``presets`` and ``sessions`` stand beside the code, for people, and are installed inside it.
"""

from setuptools import find_packages, setup

DATA = ("themes", "presets", "sessions")

setup(
    packages=[*find_packages(include=["llamachat", "llamachat.*"]), *(f"llamachat.{folder}" for folder in DATA)],
    package_dir={f"llamachat.{folder}": folder for folder in DATA},
    cffi_modules=["native/build.py:ffibuilder"],
)
