"""Counts events of a day that is not there."""

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("events").getOrCreate()
spark.read.parquet("file:///data/lake/events/dt=2026-11-21").groupBy("country").count().show()
