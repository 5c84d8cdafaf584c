"""Everything with a surface that the scene shows now, as arrays.

Comes in: an evaluated dependency graph, so modifiers, armatures, shape keys and geometry nodes have done their work.
Goes out: one `Surface` per instance; instances of one mesh share its arrays.
Laws: what renders do not show (the camera icon, ray visibility) is left out; what the viewport hides was never
evaluated and is missing as well. `hidden_in_viewport` names what a render would show and this does not.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MeshArrays", "Surface", "hidden_in_viewport", "surfaces_of"]

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


def surfaces_of(depsgraph: Any) -> list[Surface]:
    """Return the surfaces that the camera may see."""
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
            meshes[source] = _read(shown)
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


def _read(shown: Any) -> MeshArrays | None:
    if shown.type == "MESH":
        return _arrays(shown.data)
    # Curves, text and metaballs have their faces made on request, and given back.
    mesh = shown.to_mesh()
    if mesh is None:
        return None
    arrays = _arrays(mesh)
    shown.to_mesh_clear()
    return arrays


def _arrays(mesh: Any) -> MeshArrays | None:
    if not len(mesh.polygons):
        return None
    mesh.calc_loop_triangles()
    vertices = np.empty(3 * len(mesh.vertices), np.float32)
    triangles = np.empty(3 * len(mesh.loop_triangles), np.int32)
    corners = np.empty(len(mesh.loops), np.int32)
    starts = np.empty(len(mesh.polygons), np.int32)
    mesh.vertices.foreach_get("co", vertices)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    mesh.loops.foreach_get("vertex_index", corners)
    mesh.polygons.foreach_get("loop_start", starts)
    return MeshArrays(
        vertices=vertices.reshape(-1, 3).astype(np.float64),
        triangles=triangles.reshape(-1, 3).astype(np.int64),
        topology=(len(mesh.vertices), zlib.crc32(corners.tobytes()), zlib.crc32(starts.tobytes())),
    )
