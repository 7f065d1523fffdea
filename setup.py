"""What pyproject.toml cannot say: the extension is compiled where there is a C compiler, and left out elsewhere."""

from __future__ import annotations

from setuptools import Extension, setup

setup(ext_modules=[Extension("hotserve.codecs._fast", ["src/hotserve/codecs/_fast.pyx"], optional=True)])
