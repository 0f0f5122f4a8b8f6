"""A file of questions through `bertlet answer` on Apache Spark: two executors of one core on this machine.

    python bench/scale/spark.py QUESTIONS OUT FILTER [--kill] [--partitions 8]

FILTER is the command of one filter, `bertlet answer --workers 1 --allow-failed`, with whole paths: an executor has a
folder of its own. OUT is the folder that Spark makes; its
parts, one after the other, are the answers in the order of the questions. --kill ends one executor with kill -9 when half
of the tasks are done. Prints one JSON object: versions, and the seconds until Spark is up and those of the job.
"""

import argparse
import json
import os
import signal
import threading
import time
from pathlib import Path

BEGIN = time.monotonic()
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")

import pyspark  # noqa: E402  (its import is a part of what a start costs)
from pyspark.sql import SparkSession  # noqa: E402


def executors():
    """Process ids of the executors that descend from this process."""
    found, parents = [], {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"executor.CoarseGrainedExecutorBackend\0" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass  # it has ended

    def own(pid):
        return pid == os.getpid() or (pid in parents and own(parents[pid]))

    return sorted(pid for pid in found if own(pid))


def kill_one(context, job, tasks, killed):
    """Ends an executor when half of the tasks are done."""
    while True:
        time.sleep(0.05)
        stages = [context.statusTracker().getStageInfo(id) for id in context.statusTracker().getActiveStageIds()]
        done = sum(stage.numCompletedTasks for stage in stages if stage)
        if done * 2 >= tasks:
            pid = executors()[-1]
            os.kill(pid, signal.SIGKILL)
            killed.append({"afterTasks": done, "seconds": time.monotonic() - job})
            return


def main():
    parser = argparse.ArgumentParser()
    for name in ("questions", "out", "filter"):
        parser.add_argument(name)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--partitions", type=int, default=8)
    options = parser.parse_args()

    session = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.driver.memory", "1g")
        .config("spark.executor.memory", "1g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    context = session.sparkContext
    started = time.monotonic()

    lines = context.textFile(Path(options.questions).resolve().as_uri(), options.partitions)
    partitions = lines.getNumPartitions()
    killed = []
    if options.kill:
        threading.Thread(target=kill_one, args=(context, started, partitions, killed), daemon=True).start()
    # Without checkCode a filter that cannot start would be a partition without lines; without env it has no PATH.
    lines.pipe(options.filter, env=dict(os.environ), checkCode=True).saveAsTextFile(Path(options.out).resolve().as_uri())
    ended = time.monotonic()
    java = context._jvm.java.lang.System.getProperty("java.version")
    session.stop()
    print(
        json.dumps(
            {
                "spark": pyspark.__version__,
                "java": java,
                "executors": 2,
                "partitions": partitions,
                "startSeconds": started - BEGIN,
                "jobSeconds": ended - started,
                "killed": killed[0] if killed else None,
            }
        )
    )


main()
