"""Selects a column by a name that the table does not have."""

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("margin").getOrCreate()
spark.createDataFrame([(1, 2.0)], ["sku", "margin_eur"]).select("sku", "margin").show()
