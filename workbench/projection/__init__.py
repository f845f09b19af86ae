"""How events become state, declared: fields with types, handlers, upcasters.

``plan`` has the compiled form and says what a declaration means.
"""

from workbench.projection.declaration import Projection, plan_of
from workbench.projection.event_conditions import event_path
from workbench.projection.expressions import event
from workbench.projection.fields import Digits, Json
from workbench.projection.fingerprint import fingerprint
from workbench.projection.handlers import on
from workbench.projection.upcasters import upcast

__all__ = ["Digits", "Json", "Projection", "event", "event_path", "fingerprint", "on", "plan_of", "upcast"]
