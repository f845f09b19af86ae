"""Declares how events become state: fields with types, handlers and upcasters.

A subclass of `Projection` comes in; a `Plan`, the compiled form that both engines in ``workbench.fold`` execute, goes out.
``plan`` defines exactly what a declaration means.
``declaration`` and ``handlers`` check a class, ``compilation`` and ``upcast_compile`` turn it into a plan, and ``fingerprint`` identifies
the plan for materialised results.
Begin reading with ``declaration``, then ``plan``.
"""

from workbench.projection.declaration import Projection, plan_of
from workbench.projection.event_conditions import event_path
from workbench.projection.expressions import event
from workbench.projection.fields import Digits, Json
from workbench.projection.fingerprint import fingerprint
from workbench.projection.handlers import on
from workbench.projection.upcasters import upcast

__all__ = ["Digits", "Json", "Projection", "event", "event_path", "fingerprint", "on", "plan_of", "upcast"]
