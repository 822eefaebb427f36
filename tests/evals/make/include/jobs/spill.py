"""A shuffle bigger than the disk it spills to."""

from pyspark.sql import SparkSession
from pyspark.sql.functions import expr

spark = SparkSession.builder.appName("sort").config("spark.sql.shuffle.partitions", "4").getOrCreate()
spark.range(400_000).select(expr("uuid()").alias("k"), expr("repeat('x', 40)")).repartition(
    4, "k"
).sortWithinPartitions("k").count()
