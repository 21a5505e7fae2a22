"""Builds the C core as ``llamachat._native``, and finds the packages; everything else is in pyproject.toml.

The folders ``themes`` and ``sessions`` stand beside the code, for people, and are installed inside it.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["llamachat", "llamachat.*"]), "llamachat.themes", "llamachat.sessions"],
    package_dir={"llamachat.themes": "themes", "llamachat.sessions": "sessions"},
    cffi_modules=["native/build.py:ffibuilder"],
)
