"""Runs a DAG as `airflow dags trigger` does by default: without a logical date."""

import sys

from airflow.dag_processing.dagbag import BundleDagBag
from airflow import settings

dags = BundleDagBag(settings.DAGS_FOLDER, bundle_path=settings.DAGS_FOLDER, bundle_name="dags-folder")
run = dags.dags[sys.argv[1]].test(logical_date=None)
assert run.logical_date is None and run.data_interval_end is None
sys.exit(str(run.state) != "success")
