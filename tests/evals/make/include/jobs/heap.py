"""Collects more than the driver can hold."""

from pyspark.sql import SparkSession
from pyspark.sql.functions import expr

spark = SparkSession.builder.appName("profiles").config("spark.driver.maxResultSize", "0").getOrCreate()
spark.range(8_000_000).select(expr("repeat(cast(id as string), 60)")).collect()
