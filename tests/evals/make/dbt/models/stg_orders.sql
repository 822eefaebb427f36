select order_id, customer_id, case when order_id % 500 = 0 then null else amount end as amount from staging.orders
