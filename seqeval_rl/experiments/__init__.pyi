from .job import Job as Job, PlannedRun as PlannedRun, RunEnd as RunEnd
from .planner import Plan as Plan, plan as plan
from .scheduler import run_sweep as run_sweep
from .sweep import Sweep as Sweep, Variant as Variant
