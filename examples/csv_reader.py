"""A dataset reader of your own: CSV files with one transition per row, as sources `path/to/TASK-anything.csv`.

The first line names the columns: `observation_0, observation_1, ..., action_0, ..., reward, terminated, truncated`. Register the
class in the `pyproject.toml` of your package and install the package; then every command takes such sources:

    [project.entry-points."seqeval_rl.readers"]
    csv = "csv_reader:CsvReader"
"""

from pathlib import Path

import numpy as np

from seqeval_rl.data import Dataset, Listing, RawTransitions, Reader, ReadOptions
from seqeval_rl.environments import task_named
from seqeval_rl.errors import DataError, FileError

COLUMNS = ("observation", "action", "reward", "terminated", "truncated")


class CsvReader(Reader):
    endings = (".csv",)
    usage = ("<path>.csv",)
    takes_bounds = True  # of actions, see `ReadOptions.bounded`

    def read(self, source: str, options: ReadOptions) -> Dataset:
        path = Path(source)
        try:
            table = np.genfromtxt(path, delimiter=",", names=True, dtype=np.float32)
        except OSError as error:
            raise FileError(f"{path}: expected a CSV file, found: {error}. Check the path.") from error
        except ValueError as error:
            raise DataError(f"{path}: expected a table of numbers, found: {error}. Correct the file.") from error
        keys = {name: [key for key in table.dtype.names or () if key.startswith(name)] for name in COLUMNS}
        missing = [name for name in COLUMNS if not keys[name]]
        if missing:
            raise DataError(f"{path}: expected columns {', '.join(COLUMNS)}, found no {missing[0]}. Correct the file.")
        columns = {name: np.stack([table[key] for key in keys[name]], axis=-1) for name in COLUMNS}
        raw = RawTransitions(
            observations=columns["observation"],
            actions=columns["action"],
            rewards=columns["reward"][:, 0],
            terminations=columns["terminated"][:, 0],
            truncations=columns["truncated"][:, 0],
        )
        task = options.task or task_named(path.name.partition("-")[0])
        return Dataset.from_arrays(source, task, options.bounded(raw))

    def list_datasets(self) -> list[Listing]:
        return [Listing("CSV, in this directory", sorted(map(str, Path().glob("*.csv"))))]

    def citation(self, source: str) -> str | None:
        return "@misc{lab2026,\n  title = {Our robot's data},\n  year = {2026}\n}"
