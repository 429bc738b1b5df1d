"""A SLURM cluster of one node on this machine, where Debian's slurmctld, slurmd and munge are installed and may be started."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "squeue")


def missing():
    """Why there can be no cluster here; empty where there can."""
    absent = [name for name in NEEDED if shutil.which(name) is None and shutil.which(f"/usr/sbin/{name}") is None]
    if absent:
        return f"SLURM is not installed: no {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "SLURM's daemons need root"


def _port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def cluster(folder, cores=4):
    """Start it with its files in `folder`; gives the path of its slurm.conf."""
    host = socket.gethostname().partition(".")[0]
    (folder / "state").mkdir(parents=True)
    key, sock = folder / "munge.key", folder / "munge.sock"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    conf.write_text(f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={sock}
SlurmUser=root
SlurmctldPort={_port()}
SlurmdPort={_port()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    files = [
        f"--key-file={key}",
        f"--socket={sock}",
        f"--pid-file={folder}/munge.pid",
        f"--log-file={folder}/munge.log",
    ]
    commands = [
        ["munged", "--foreground", "--force", *files, f"--seed-file={folder}/munge.seed"],
        ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", host],
    ]  # fmt: skip
    path = f"/usr/sbin:{os.environ['PATH']}"
    with contextlib.ExitStack() as stack, (folder / "daemons.log").open("wb") as log:
        for command in commands:
            program = shutil.which(command[0], path=path)
            daemon = subprocess.Popen([program, *command[1:]], env=environment, stdout=log, stderr=log)
            stack.callback(_stop, daemon)
            time.sleep(1.0)
        until = time.monotonic() + 30
        while b"idle" not in subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True).stdout:
            assert time.monotonic() < until, (folder / "daemons.log").read_text()
            time.sleep(0.5)
        stack.callback(subprocess.run, ["scancel", "--full", "--state=RUNNING"], env=environment)
        yield conf


def _stop(daemon):
    daemon.terminate()
    try:
        daemon.wait(15)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
