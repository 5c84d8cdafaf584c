"""Everything with a surface that the scene shows now, as arrays.

Comes in: an evaluated dependency graph, so modifiers, armatures, shape keys and geometry nodes have done their work.
Goes out: one `Surface` per instance; instances of one mesh share its arrays.
Laws: what renders do not show (the camera icon, ray visibility) is left out; what the viewport hides was never
evaluated and is missing as well. `hidden_in_viewport` names what a render would show and this does not.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MeshArrays", "MeshCache", "Surface", "hidden_in_viewport", "surfaces_of"]

_SOLID: Final = frozenset({"MESH", "CURVE", "SURFACE", "META", "FONT"})


@dataclass(frozen=True, slots=True, eq=False)
class MeshArrays:
    """An evaluated mesh.

    Args:
        vertices: (n, 3) float64, in the object's frame, Blender's units.
        triangles: (m, 3) int64, vertex numbers.
        topology: of vertices, corners and polygons; two meshes with the same one have the same faces. Triangles are
            not part of it: Blender may turn a quad's diagonal as it bends.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    topology: tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A mesh somewhere in the world.

    Args:
        key: names the instance; it is the same at another moment.
        mesh: shared by all instances of it.
        world_from_object: (4, 4) float64.
    """

    key: Hashable
    mesh: MeshArrays
    world_from_object: NDArray[np.float64]


class MeshCache:
    """Meshes of the moment before: what has not changed since is not read again.

    Most of a scene stands still, and reading triangles costs ten times as much as reading vertices.
    """

    def __init__(self) -> None:
        self._before: dict[Hashable, MeshArrays] = {}
        self._now: dict[Hashable, MeshArrays] = {}

    def start(self) -> None:
        """Begin a moment; meshes that the one before did not have are forgotten."""
        self._before, self._now = self._now, {}

    def find(self, fingerprint: Hashable) -> MeshArrays | None:
        """Return the mesh of this fingerprint, if it was there."""
        found = self._now.get(fingerprint) or self._before.get(fingerprint)
        if found is not None:
            self._now[fingerprint] = found
        return found

    def keep(self, fingerprint: Hashable, arrays: MeshArrays) -> None:
        """Remember a mesh until the end of the next moment."""
        self._now[fingerprint] = arrays


def surfaces_of(depsgraph: Any, cache: MeshCache | None = None) -> list[Surface]:
    """Return the surfaces that the camera may see."""
    cache = MeshCache() if cache is None else cache
    cache.start()
    meshes: dict[Hashable, MeshArrays | None] = {}
    seen: dict[Hashable, int] = {}
    surfaces = []
    unrendered = _not_rendered(depsgraph.view_layer_eval.layer_collection)
    for instance in depsgraph.object_instances:
        shown = instance.object
        owner = instance.parent if instance.is_instance else shown
        if not instance.show_self or shown.type not in _SOLID:
            continue
        if shown.hide_render or owner.hide_render or not owner.visible_camera or owner.name in unrendered:
            continue
        source = shown.data.as_pointer()
        if source not in meshes:
            meshes[source] = _read(shown, cache)
        mesh = meshes[source]
        if mesh is None:
            continue
        key: Hashable = (owner.name_full, shown.name_full, tuple(instance.persistent_id))
        # Two pieces of one instance may carry the same id: their order then tells them apart.
        seen[key] = seen.get(key, -1) + 1
        surfaces.append(Surface((key, seen[key]), mesh, np.array(instance.matrix_world, dtype=np.float64)))
    return surfaces


def hidden_in_viewport(scene: Any, view_layer: Any) -> list[str]:
    """Return the names of solid objects that renders show and the viewport hides: the capture lacks them."""
    unrendered = _not_rendered(view_layer.layer_collection)
    return sorted(
        thing.name
        for thing in scene.objects
        if thing.type in _SOLID
        and not thing.hide_render
        and thing.name not in unrendered
        and thing.name in view_layer.objects
        and not thing.visible_get(view_layer=view_layer)
    )


def _not_rendered(root: Any) -> frozenset[str]:
    """Return the names of objects all of whose collections are left out of renders."""
    rendered: set[str] = set()
    unrendered: set[str] = set()
    for layer, hidden in _walk(root, False):
        (unrendered if hidden else rendered).update(thing.name for thing in layer.collection.objects)
    return frozenset(unrendered - rendered)


def _walk(layer: Any, hidden: bool) -> Iterator[tuple[Any, bool]]:
    hidden = hidden or bool(layer.collection.hide_render)
    if layer.exclude:
        return
    yield layer, hidden
    for child in layer.children:
        yield from _walk(child, hidden)


def _read(shown: Any, cache: MeshCache) -> MeshArrays | None:
    if shown.type == "MESH":
        return _arrays(shown.data, cache)
    # Curves, text and metaballs have their faces made on request, and given back.
    mesh = shown.to_mesh()
    if mesh is None:
        return None
    arrays = _arrays(mesh, cache)
    shown.to_mesh_clear()
    return arrays


def _arrays(mesh: Any, cache: MeshCache) -> MeshArrays | None:
    if not len(mesh.polygons):
        return None
    vertices = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", vertices)
    corners, starts = _faces(mesh)
    topology = (len(mesh.vertices), zlib.crc32(corners.data), zlib.crc32(starts.data))
    # Triangles follow from faces and vertices; 128 bits of them, since a chance hit would be a wrong picture.
    fingerprint = (topology, hashlib.blake2b(vertices.data, digest_size=16).digest())
    known = cache.find(fingerprint)
    if known is not None:
        return known
    mesh.calc_loop_triangles()
    triangles = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    arrays = MeshArrays(
        vertices=vertices.reshape(-1, 3).astype(np.float64),
        triangles=triangles.reshape(-1, 3).astype(np.int64),
        topology=topology,
    )
    cache.keep(fingerprint, arrays)
    return arrays


def _faces(mesh: Any) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the vertex of every face corner, and where each face's corners begin."""
    corners = np.empty(len(mesh.loops), np.int32)
    starts = np.empty(len(mesh.polygons), np.int32)
    stored = mesh.attributes.get(".corner_vert")  # since Blender 3.6, and much faster than the loops
    if stored is not None:
        stored.data.foreach_get("value", corners)
    else:
        mesh.loops.foreach_get("vertex_index", corners)
    mesh.polygons.foreach_get("loop_start", starts)
    return corners, starts
