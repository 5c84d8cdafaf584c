"""The one mistake that explains a stream best, out of all that could be made.

A reading has to remove most of the disagreement to be named; one that removes as much as a likelier one gives way to
it. Where no single mistake does, two at a time are tried (depth in centimetres AND a left-handed camera).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from ..geometry.depth import DepthDeclaration
from .evidence import PairView, PointView, Score, score
from .finding import Figure, Finding, Severity
from .hypothesis import AS_SENT, Hypothesis, catalogue
from .measure import device_declaration, relative_scale

__all__ = ["best_explanation", "percent"]

Views: TypeAlias = Sequence[PointView | PairView]

# The share of the disagreement that a mistake has to explain, and the agreement that has to be there then.
_EXPLAINED: Final = 0.6
_AGREEMENT: Final = 0.8
# Mistakes within this much of each other are equally good: the likelier one is named.
_TIE: Final = 0.01
# First mistakes on top of which a second one is tried.
_BEAM: Final = 4
# Hundreds of readings are scored: on so many views, spread over the stream, and points of each.
_VIEWS: Final = 4
_POINTS: Final = 400


def best_explanation(views: Views, baseline: Score) -> list[Finding]:
    """Return the mistake, or the two together, that explain why the views disagree; empty where none does."""
    few = _thinned(views)
    first = _ranked(few, AS_SENT)
    alone = _explanation(views, baseline, (first[0][0],))
    if alone:
        return alone
    pairs = [(one, *_ranked(few, one)[0]) for one, _ in first[:_BEAM]]
    one, both, _ = max(pairs, key=lambda pair: round(pair[2].total / _TIE))  # on a tie, the likelier first mistake
    return _explanation(views, baseline, (one, both))


def percent(name: str, share: float) -> Figure:
    """Return a share as a figure."""
    return Figure(name, 100.0 * share, "%")


def _thinned(views: Views) -> Views:
    chosen = views[:: -(-len(views) // _VIEWS)]
    return [view.thinned(_POINTS) for view in chosen]


def _ranked(views: Views, base: Hypothesis) -> list[tuple[Hypothesis, Score]]:
    points = [view for view in views if isinstance(view, PointView)]
    mistakes = catalogue(
        base.declaration or _declared(views),
        scale=relative_scale(points, base) if points else None,
        device=device_declaration(points, base) if points else None,
        with_points=bool(points),
    )
    scored = [(reading, score(views, reading)) for reading in (mistake.over(base) for mistake in mistakes)]
    best = max(result.total for _, result in scored)
    # Sorting is stable: among equals the catalogue's order stands.
    return sorted(scored, key=lambda pair: int((best - pair[1].total) / _TIE))


def _declared(views: Views) -> DepthDeclaration:
    view = views[0]
    return (view.sight if isinstance(view, PointView) else view.source).tick.depth_declaration


def _explanation(views: Views, baseline: Score, mistakes: tuple[Hypothesis, ...]) -> list[Finding]:
    # The last of the mistakes contains the ones before it.
    result = score(views, mistakes[-1])
    unexplained = (1.0 - result.total) / (1.0 - baseline.total)
    if result.total < _AGREEMENT or unexplained > 1.0 - _EXPLAINED:
        return []
    figures = (percent("agreement as sent", baseline.total), percent("agreement so corrected", result.total))
    return [Finding(m.code, Severity.ERROR, m.sentence, m.remedy, figures) for m in mistakes]
