"""A UDF that forgets that names may be null."""

from pyspark.sql import SparkSession
from pyspark.sql.functions import udf

spark = SparkSession.builder.appName("names").getOrCreate()
frame = spark.createDataFrame([(1, "Ada"), (2, None)], ["id", "name"])
frame.select(udf(lambda name: name.strip().lower())("name")).show()
