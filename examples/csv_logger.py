"""A logger in one file: each run's metrics as `metrics.csv` in its directory, one row per evaluation and metric.

seqeval run quickstart --mini --logger examples/csv_logger.py:CsvLogger
"""

import csv


class CsvLogger:
    def log(self, run, point, metrics):
        path = run.directory / "metrics.csv"
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["transitions", "gradient_steps", "phase", "metric", "value"])
            for name, value in metrics.items():
                writer.writerow([point.transitions, point.gradient_steps, point.phase, name, value])

    def close(self):
        pass  # nothing stays open
