"""A CycloneDX bill of materials beside an exported model: the model, its training data, the packages that made it.

Through cyclonedx-python-lib: the extra `dasvdd[sbom]`, which this module alone imports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import metadata as distributions
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from dasvdd_runtime.contract import ModelMetadata
from dasvdd_runtime.errors import Unavailable
from dasvdd_runtime.files import write_atomically
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SCHEMA = SchemaVersion.V1_6
ROOT = "dasvdd"
EXTRAS = frozenset({"cpu", "gpu", "export"})
"""Of the root, whose packages can have a part in a model; those that are not installed have none."""


def sbom_path(model: Path) -> Path:
    """Where the bill of materials of `model` lies."""
    return model.with_suffix(".cdx.json")


def write_sbom(model: Path, metadata: ModelMetadata) -> Path:
    """Write the bill of materials of the exported file `model`; its path.

    The packages are those of this Python, where the export ran. Raises Unavailable where dasvdd is not installed as a
    package, so that nothing says what it needs.
    """
    bom = Bom()
    exported = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=metadata.name,
        version=metadata.created,
        bom_ref="model",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(model.read_bytes()).hexdigest())],
        properties=[
            Property(name="dasvdd:schema_version", value=metadata.schema_version),
            Property(name="dasvdd:kind", value=metadata.kind),
        ],
    )
    trained = Component(
        type=ComponentType.FILE,
        name="model.pt",
        bom_ref="model.pt",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=metadata.trained_fingerprint)],
    )
    data = Component(
        type=ComponentType.DATA,
        name="training recordings",
        bom_ref="training-data",
        # The hash of no file, but of the samples that were trained on, so it is no CycloneDX hash.
        properties=[
            Property(name="dasvdd:data_fingerprint", value=metadata.training.data_fingerprint),
            Property(name="dasvdd:recordings", value=str(metadata.training.recordings)),
            Property(name="dasvdd:seconds", value=f"{metadata.training.seconds:g}"),
        ],
    )
    packages, needs = installed_packages()
    libraries = {name: _library(name, version) for name, version in packages.items()}
    bom.metadata.component = exported
    for component in (trained, data, *libraries.values()):
        bom.components.add(component)
    bom.register_dependency(exported, [trained, libraries[ROOT]])
    bom.register_dependency(trained, [data])
    for name, needed in needs.items():
        bom.register_dependency(libraries[name], [libraries[other] for other in sorted(needed)])
    path = sbom_path(model)
    text = make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string(indent=2)
    write_atomically(path, text.encode("utf-8"))
    return path


def installed_packages() -> tuple[dict[str, str], dict[str, set[str]]]:
    """dasvdd and all that it needs for an export, as installed here: version by name, and what each needs itself.

    Raises Unavailable where dasvdd is not installed as a package.
    """
    versions, needs = dict[str, str](), dict[str, set[str]]()
    waiting = [(ROOT, EXTRAS)]
    seen = set[tuple[str, frozenset[str]]]()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found = distributions.distribution(name)
        except distributions.PackageNotFoundError:
            continue
        versions[name] = found.version
        needed = list(_requirements(found, extras))
        needs.setdefault(name, set()).update(other for other, _ in needed if other != name)
        waiting += needed
    if ROOT not in versions:
        raise Unavailable(
            "dasvdd is not installed as a package, so its bill of materials is not known: pip install it."
        )
    return versions, {name: needed & versions.keys() for name, needed in needs.items()}


def _requirements(found: distributions.Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Names and extras of what a distribution requires here, with its own `extras`."""
    for line in found.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def _library(name: str, version: str) -> Component:
    purl = PackageURL("pypi", name=name, version=version)
    return Component(type=ComponentType.LIBRARY, name=name, version=version, purl=purl, bom_ref=purl.to_string())
