from .launcher import (
    Launcher as Launcher,
    LaunchOptions as LaunchOptions,
    SweepRequest as SweepRequest,
    find_launcher as find_launcher,
)
